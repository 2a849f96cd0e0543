"""verify: is a subnetwork file whole, and does it belong to a pretrained model?"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from ken.errors import FormatError, KenError
from ken.injection.inject import find_places, merged_stretches
from ken.injection.stand_ins import find_stand_ins, stretches
from ken.models.checkpoints.checkpoint import Source, read
from ken.storage.lazy_tensors import StoredCarried, StoredTensor
from ken.storage.model_files import parts_of
from ken.subnetwork.subnetwork import SubnetworkData

_SHOWN = 10


def check_whole(net: SubnetworkData, pretrained: Source | None, *, progress: bool = True) -> None:
    """Raise `FormatError` unless all that is stored is whole, and belongs to the pretrained model; see `ken.verify`."""
    from tqdm.auto import tqdm

    theirs = None if pretrained is None else read(pretrained)
    places = {} if theirs is None else find_places(net, theirs)
    lent = {} if theirs is None else find_stand_ins(net, theirs)
    wrong: dict[str, KenError] = {}

    @contextmanager
    def noting(name: str) -> Iterator[None]:
        try:
            yield
        except KenError as error:
            wrong[name] = error

    # What is taken from an iterator is checked on its way; nothing of it is kept.
    with tqdm(total=net.entries, desc="verify", unit="entry", unit_scale=True, disable=not progress, delay=1.0) as bar:
        for name, outline in net.outlines.items():
            bar.set_postfix_str(name, refresh=False)
            with noting(name):
                if theirs is not None:
                    deque(merged_stretches(net, name, theirs, place=places[name]), maxlen=0)
                elif isinstance(tensor := net.tensors[name], StoredTensor | StoredCarried):
                    tensor.verify()
            bar.update(outline.entries)
        for name, place in lent.items():
            assert theirs is not None
            with noting(name):
                deque(stretches(net, name, theirs, place=place), maxlen=0)
        for name in net.files:
            with noting(name):
                deque(parts_of(net.files, name), maxlen=0)
    if wrong:
        lines = [f"{name!r}: {error}" for name, error in list(wrong.items())[:_SHOWN]]
        more = f" (the first {_SHOWN} are shown)" if len(wrong) > _SHOWN else ""
        raise FormatError("\n  ".join([f"{len(wrong)} of {len(net)} tensors fail{more}:", *lines]))
