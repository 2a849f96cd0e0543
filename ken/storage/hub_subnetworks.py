"""Subnetwork files on the hub: which one of a repository is meant, and from where it is opened.

The hub is asked first, unless a commit hash is given: a repository that is being worked on gets new subnetworks. Its
cache stands in where the hub cannot be reached.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from ken.errors import HubError, warn
from ken.models.checkpoints.hub import download, is_offline, listing, snapshot
from ken.models.checkpoints.hub_errors import OFFLINE, UnreachableError
from ken.models.checkpoints.hub_files import files_below
from ken.models.checkpoints.location import PROTOCOL, Address, Named, Place, place_of
from ken.models.checkpoints.remote.mirror import mirrored_file

#: How the name of a subnetwork file ends.
ENDING = ".ken.safetensors"
_COMMIT = re.compile(r"[0-9a-f]{40}")


def locate_subnetwork(source: Named) -> Path:
    """The file that a path, or a place on the hub, names; of a repository its only subnetwork, which alone is got.

    Text is a place on the hub if it begins with hf://, or looks like user/name and there is no such file. Whether there
    is anything at a path is left to whoever opens it.

    Raises `HubError` if the repository has no subnetwork or several, or cannot be read.

    >>> locate_subnetwork("net.ken.safetensors").name
    'net.ken.safetensors'
    """
    place = place_of(source)
    if place.url:
        return mirrored_file(place.url, place.options)
    address = place.address
    if address is None or "/" not in address.hub_id:
        return place.path
    cached = snapshot(address)
    if _COMMIT.fullmatch(address.revision) and cached is not None:
        held = [*files_below(cached)]
        if address.path in held:
            return cached / address.path
    if is_offline():
        return _from_cache(place, address, OFFLINE)
    try:
        listed = listing(place, address)
    except UnreachableError as error:
        if cached is None:
            raise
        path = _from_cache(place, address, str(error))
        warn(f"{place.text}: the hub cannot be reached, so the cache's copy of commit {cached.name} is taken")
        return path
    name = _only(listed.names, address)
    return download(place, address, [name]) / name


def _from_cache(place: Place, address: Address, why: str) -> Path:
    cached = snapshot(address)
    if cached is None:
        raise HubError(f"there is no file {place.text}, and the hub's cache has nothing of that name; {why}")
    try:
        return cached / _only([*files_below(cached)], address)
    except HubError as error:
        raise HubError(f"of what is in the hub's cache: {error}; {why}") from None


def _only(names: Collection[str], address: Address) -> str:
    """The subnetwork that is meant."""
    if address.path in names:
        return address.path
    front = f"{address.path}/" if address.path else ""
    fitting = sorted(name for name in names if name.startswith(front) and name.endswith(ENDING))
    if not fitting:
        raise HubError(f"{address} has no subnetwork (*{ENDING})")
    if len(fitting) > 1:
        one = f"{PROTOCOL}{str(Address(address.hub_id, address.revision)).removeprefix(PROTOCOL)}/{fitting[0]}"
        raise HubError(f"{address} has {len(fitting)} subnetworks, {', '.join(fitting)[:400]}; name one: {one}")
    return fitting[0]
