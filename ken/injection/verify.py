"""verify: is a subnetwork file whole, and does it belong to a pretrained model? Here, or by an executor's workers."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from ken.errors import FormatError, KenError
from ken.injection.inject import find_places, merged_stretches
from ken.injection.stand_ins import find_stand_ins, stretches
from ken.models.checkpoints.as_data import source_as_data, source_of
from ken.models.checkpoints.checkpoint import Source, read
from ken.storage.lazy_tensors import StoredCarried, StoredTensor
from ken.storage.model_files import parts_of
from ken.storage.shared_places import reopened
from ken.subnetwork.executors.groups import answers, spans
from ken.subnetwork.subnetwork import SubnetworkData

_SHOWN = 10


class _Check(NamedTuple):
    """Something that is stored, and a look at all of it, which raises `KenError` unless it is whole."""

    name: str
    entries: int
    look: Callable[[], object]


def check_whole(
    net: SubnetworkData,
    pretrained: Source | None,
    *,
    place: str = "",
    executor: Any = None,
    timeout: float | None = None,
    progress: bool = True,
) -> None:
    """Raise `FormatError` unless all that is stored is whole, and belongs to the pretrained model; see `ken.verify`.

    place is where the workers of an executor find the file (`ken.storage.shared_places`).
    """
    from tqdm.auto import tqdm

    checks = _checks(net, pretrained)
    wrong: dict[str, str] = {}
    with tqdm(total=net.entries, desc="verify", unit="entry", unit_scale=True, disable=not progress, delay=1.0) as bar:
        if executor is None:
            for check in checks:
                bar.set_postfix_str(check.name, refresh=False)
                wrong |= _failing([check])
                bar.update(check.entries)
        else:
            groups = spans(check.entries for check in checks)
            model = json.dumps(source_as_data(pretrained, "the pretrained model"))
            failing: dict[int, dict[str, str]] = {}
            calls = [(place, model, *group) for group in groups]
            for number, errors in answers(executor, worker_checks, calls, timeout=timeout):
                failing[number] = errors
                start, stop = groups[number]
                bar.update(sum(check.entries for check in checks[start:stop]))
            for number in sorted(failing):
                wrong |= failing[number]
    if wrong:
        lines = [f"{name!r}: {error}" for name, error in list(wrong.items())[:_SHOWN]]
        more = f" (the first {_SHOWN} are shown)" if len(wrong) > _SHOWN else ""
        raise FormatError("\n  ".join([f"{len(wrong)} of {len(net)} tensors fail{more}:", *lines]))


def worker_checks(place: str, pretrained: str, start: int, stop: int) -> str:
    """What a worker does: some of the checks, in their order. Gives the errors by name."""
    checks = _checks(reopened(place, SubnetworkData), source_of(json.loads(pretrained)))
    return json.dumps(_failing(checks[start:stop]))


def _checks(net: SubnetworkData, pretrained: Source | None) -> list[_Check]:
    """All that is to be looked at. What is taken from an iterator is checked on its way; nothing of it is kept."""
    theirs = None if pretrained is None else read(pretrained)
    places = {} if theirs is None else find_places(net, theirs)
    lent = {} if theirs is None else find_stand_ins(net, theirs)

    def whole(name: str) -> None:
        if theirs is not None:
            deque(merged_stretches(net, name, theirs, place=places[name]), maxlen=0)
        elif isinstance(tensor := net.tensors[name], StoredTensor | StoredCarried):
            tensor.verify()

    def standing_in(name: str) -> None:
        assert theirs is not None
        deque(stretches(net, name, theirs, place=lent[name]), maxlen=0)

    def of_a_file(name: str) -> None:
        deque(parts_of(net.files, name), maxlen=0)

    def looks() -> Iterator[_Check]:
        for name, outline in net.outlines.items():
            yield _Check(name, outline.entries, partial(whole, name))
        for name in lent:
            yield _Check(name, 0, partial(standing_in, name))
        for name in net.files:
            yield _Check(name, 0, partial(of_a_file, name))

    return list(looks())


def _failing(checks: Sequence[_Check]) -> dict[str, str]:
    wrong = {}
    for check in checks:
        try:
            check.look()
        except KenError as error:
            wrong[check.name] = str(error)
    return wrong
