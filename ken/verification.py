"""verify: is a subnetwork file whole, and does it belong to a pretrained model?"""

from __future__ import annotations

from pathlib import Path

from ken.checkpoint import Source, read
from ken.errors import FormatError, KenError
from ken.filing import parts_of
from ken.format import load
from ken.injection import find_places, merged_stretches
from ken.standins import find_stand_ins, stretches
from ken.stored import StoredCarried, StoredTensor
from ken.subnetwork import Subnetwork

_SHOWN = 10


def verify(net: Subnetwork | str | Path, pretrained: Source | None = None, *, progress: bool = True) -> Subnetwork:
    """Check all that is stored against its checksums and, with a pretrained model, inject every tensor for a trial.

    Then the pretrained tensors must have the fingerprints that the subnetwork relies on, and the injected ones those
    that it promises. A mask and some of its entries at a time are in memory. Returns the subnetwork, so that it can be
    used right away.

    Raises `FormatError`, which names the tensors (the first ten), if any fails.

    >>> import tempfile, torch, ken
    >>> pretrained = {"w": torch.zeros(4, 4)}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = ken.prune({"w": torch.ones(4, 4)}, pretrained, 2).save(Path(folder) / "net.ken.safetensors")
    ...     verify(path, pretrained).share
    0.5
    """
    from tqdm.auto import tqdm

    net = net if isinstance(net, Subnetwork) else load(net)
    theirs = None if pretrained is None else read(pretrained)
    places = {} if theirs is None else find_places(net, theirs)
    lent = {} if theirs is None else find_stand_ins(net, theirs)
    wrong: dict[str, KenError] = {}
    with tqdm(total=net.entries, desc="verify", unit="entry", unit_scale=True, disable=not progress, delay=1.0) as bar:
        for name, outline in net.outlines.items():
            bar.set_postfix_str(name, refresh=False)
            try:
                if theirs is not None:  # compares the checksums on its way
                    for _ in merged_stretches(net, name, theirs, places[name]):
                        pass
                elif isinstance(tensor := net.tensors[name], StoredTensor | StoredCarried):
                    tensor.verify()
            except KenError as error:
                wrong[name] = error
            bar.update(outline.entries)
        for name, place in lent.items():
            assert theirs is not None
            try:
                for _ in stretches(net, name, theirs, place):
                    pass
            except KenError as error:
                wrong[name] = error
        for name in net.files:
            try:
                for _ in parts_of(net.files, name):
                    pass
            except KenError as error:
                wrong[name] = error
    if wrong:
        lines = [f"{name!r}: {error}" for name, error in list(wrong.items())[:_SHOWN]]
        more = f" (the first {_SHOWN} are shown)" if len(wrong) > _SHOWN else ""
        raise FormatError("\n  ".join([f"{len(wrong)} of {len(net)} tensors fail{more}:", *lines]))
    return net
