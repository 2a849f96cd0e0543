"""A subnetwork and where it lies, for work that others do: they open it themselves, so no value is sent to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from ken.errors import ExecutorError
from ken.models.checkpoints.as_data import source_as_data, source_of
from ken.models.checkpoints.location import Location
from ken.storage import reader
from ken.storage.hub_subnetworks import locate_subnetwork
from ken.subnetwork.subnetwork import SubnetworkData

#: Where a subnetwork lies: the path or URL of its file, or a repository.
SubnetworkPlace: TypeAlias = str | Path | Location

Net = TypeVar("Net", bound=SubnetworkData)


def opened(net: Net | SubnetworkPlace, kind: type[Net], executor: Any = None) -> tuple[Net, str]:
    """A subnetwork, opened unless it is, and as text where the workers of an executor find it; empty without one.

    Raises `ExecutorError` if they could not find it, and what `ken.load` does.
    """
    if not isinstance(net, SubnetworkData):
        return reader.read(locate_subnetwork(net), kind), json.dumps(source_as_data(net, "the subnetwork"))
    if executor is not None:
        raise ExecutorError("workers open the subnetwork themselves: give its place, the path of its file")
    return net, ""


def reopened(place: str, kind: type[Net]) -> Net:
    """What a worker opens: the subnetwork at a place that `opened` has told it."""
    return reader.read(locate_subnetwork(source_of(json.loads(place))), kind)
