"""Models on the hub: from where its cache has them, or after a download of the files that are needed."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ken.errors import HubError, PairingError
from ken.models.checkpoints.hub_errors import OFFLINE, in_words
from ken.models.checkpoints.hub_files import files_below, further, shards_of, wanted
from ken.models.checkpoints.location import Address, Named, Place, place_of
from ken.models.checkpoints.location import an_id as an_id
from ken.models.checkpoints.remote import mirror


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repository at one commit."""

    commit: str
    names: tuple[str, ...]


def locate(source: Named) -> Path:
    """The file or folder that a source names: as a path, a URL (then a mirror of it), else as a place on the hub.

    A `Path` is never a hub id, nor is a text that looks like one (with a leading dot, ~ or slash, or several slashes).
    What the cache has is taken from there, without a look at the network.

    Raises `PairingError` if there is neither; `HubError`, which is one, says what is wrong with the hub.

    >>> locate(".").name
    ''
    """
    place = place_of(source)
    if place.url:
        return mirror.mirrored(place.url, place.options, variant=place.variant)
    if place.address is None:
        if not place.path.exists():
            raise PairingError(f"there is no file or folder {place.text}")
        return place.path
    address = place.address
    folder = _cached(place, address) or _downloaded(place, address)
    return folder / address.path if address.path else folder


def locate_whole(source: Named) -> Path:
    """The same for libraries that read files on their own: whole files in the place of stubs of a remote folder."""
    return mirror.completed(locate(source))


def in_cache(source: Named) -> Path | None:
    """The folder of all that the hub's cache has of a model by its id; None if nothing. The hub is not asked.

    >>> in_cache("../no/id") is None
    True
    """
    address = place_of(source).address
    if address is None:
        return None
    folder = _in_cache(address)
    return folder if folder.is_dir() else None


def snapshot(address: Address) -> Path | None:
    """The folder in which the cache has a revision of a repository, or a part of it; None if nothing."""
    folder = _in_cache(address)
    revision = address.revision or "main"
    reference = folder / "refs" / revision
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
    place = folder / "snapshots" / commit
    return place if "/" not in commit and place.is_dir() else None


def listing(place: Place, address: Address) -> Listing:
    """Which files a repository has, by the hub's own word."""
    from huggingface_hub import HfApi

    with in_words(address.hub_id, revision=address.revision, text=_text(place), token=place.token):
        info = HfApi(token=place.token).model_info(address.hub_id, revision=address.revision or None)
    return Listing(str(info.sha), tuple(file.rfilename for file in info.siblings or ()))


def download(place: Place, address: Address, names: Iterable[str]) -> Path:
    """Get files of a repository into the cache. What has been begun is gone on with. Returns the folder of the commit.

    The library shows its own bars, and none where they are disabled.
    """
    from huggingface_hub import snapshot_download

    with in_words(address.hub_id, revision=address.revision, text=_text(place), token=place.token):
        folder = snapshot_download(
            address.hub_id,
            revision=address.revision or None,
            token=place.token,
            allow_patterns=[glob.escape(name) for name in names],
        )
    return Path(folder)


def config_of(source: Named) -> Path | None:
    """The config.json of a place on the hub, and nothing else of it; None for a place on the disk."""
    place = place_of(source)
    if place.address is None:
        return None
    address = place.address
    name = f"{address.path}/config.json" if address.path else "config.json"
    return one_file(place, address, name)


def one_file(place: Place, address: Address, name: str) -> Path:
    """One file of a repository, from the cache if it is there. Raises `HubError` if the repository has none."""
    folder = snapshot(address)
    if folder is None or not (folder / name).is_file():
        if is_offline():
            raise HubError(f"the hub's cache has no {name} of {place.text}; {OFFLINE}")
        if name not in listing(place, address).names:
            raise HubError(f"{place.text} has no {name}")
        folder = download(place, address, [name])
    return folder / name


def note_of(place: Place) -> str:
    """A sentence if the cache lacks files that the repository has beside the weights; empty if not, or unknown."""
    folder = None if place.address is None else snapshot(place.address)
    if place.address is None or folder is None:
        return ""
    missing = _missing(folder, place, place.address)
    return f"{place.text}: not in the hub's cache, and left out: {', '.join(missing)}" if missing else ""


def _cached(place: Place, address: Address) -> Path | None:
    """The folder of the commit in the cache, if all that is needed is there; None if the hub must be asked."""
    folder = snapshot(address)
    if folder is None:
        if is_offline():
            raise _not_cached(place)
        return None
    try:
        needed = wanted([*files_below(folder)], address.path, place.variant, where=address.hub_id)
    except HubError as reason:
        if is_offline():
            error = _not_cached(place)
            error.add_note(f"of what is in the cache: {reason}")
            raise error from None
        return None
    if not all((folder / shard).is_file() for shard in shards_of(folder, needed)):
        if is_offline():
            raise _not_cached(place)
        return None
    return folder if is_offline() or not _missing(folder, place, address) else None


def _missing(folder: Path, place: Place, address: Address) -> list[str]:
    """What is wanted of a repository and not in the cache.

    The library keeps a list of the files of every commit that it downloads; of what came otherwise nothing is known.
    """
    import huggingface_hub

    listed = getattr(huggingface_hub, "get_cached_repo_tree", None)  # of newer versions
    if listed is None:
        return []
    try:
        names = [entry.path for entry in listed(address.hub_id, revision=folder.name)]
    except Exception:  # the library has no one class for a list that is not there, or is damaged
        return []
    needed = wanted(names, address.path, place.variant, where=address.hub_id)
    files = (*needed.files, *further(folder, needed, names))
    return [name for name in files if not (folder / name).is_file()]


def _downloaded(place: Place, address: Address) -> Path:
    """All that is needed of a model: an index comes before its shards."""
    listed = listing(place, address)
    needed = wanted(listed.names, address.path, place.variant, where=address.hub_id)
    folder = download(place, address, needed.files)
    if more := further(folder, needed, listed.names):
        download(place, Address(address.hub_id, folder.name), more)
    return folder


def _in_cache(address: Address) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser() / f"models--{address.hub_id.replace('/', '--')}"


def is_offline() -> bool:
    """Whether the hub must not be asked."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _text(place: Place) -> str:
    """What the user gave, where it might have been a path as well."""
    return "" if place.text.startswith("hf://") else place.text


def _not_cached(place: Place) -> HubError:
    front = f"there is no file or folder {place.text}, and the" if _text(place) else f"{place.text}: the"
    return HubError(f"{front} hub's cache has no model of that name; {OFFLINE}")
