"""Where a model is, taken apart: a path, or a repository of the hub with a revision and a place in it.

user/name@v1               a plain id; a file or folder of that very name comes first
hf://user/name@v1/unet     the spelling of huggingface_hub's file system, which never means a path
Location("user/name", …)   the same in the words of transformers
s3://bucket/model          any other file system that fsspec knows

`place_of` makes a `Place` of each; its address is None where it is a path or a URL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

from ken.errors import HubError, PairingError
from ken.models.checkpoints.remote.urls import joined, name_of, on_disk, protocol_of, shown

PROTOCOL = "hf://"

_ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
# Revisions with a slash that the hub knows by heart; in any other the slash is spelled %2F.
_REFS = re.compile(r"refs/(?:convert/[\w.-]+|pr/\d+)", re.ASCII)
_FILES = (".safetensors", ".bin", ".gguf", ".json", ".pt", ".pth", ".ckpt", ".npz")
_OTHER_KINDS = ("datasets", "spaces", "buckets", "kernels")


@dataclass(frozen=True)
class Location:
    """Where a model, an adapter or a subnetwork is, in the words that transformers has for it.

    Attributes:
        place: A path, a hub id, or either with what `ken.prune` takes behind it (``"hf://user/name@v1/unet"``).
        revision: Branch, tag or commit hash, of the hub alone; None: the default branch.
        subfolder: The folder in it that is meant, or the file; parts are separated by slashes.
        variant: Of several sets of weights the one with this word in its names (``"fp16"``).
        token: A token of the hub, if not the one that is set or stored. It is in no text that is made of this, and in
            no copy that is pickled.
        storage_options: What the file system of a URL is opened with, as fsspec takes it, if not by what is set in the
            environment or its configuration. It is in no text and in no copy, like the token.

    Raises:
        PairingError: The subfolder leads out of the place, the variant is no word, or there are options and no URL.

    Example:
        >>> Location("user/name", revision="v1", token="hf_secret")
        Location(place='user/name', revision='v1', subfolder='', variant='')
    """

    place: str | Path
    revision: str | None = None
    subfolder: str = ""
    variant: str = ""
    token: str | None = field(default=None, repr=False, compare=False)
    storage_options: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.place, str | Path):
            raise PairingError(f"the place of a Location must be a path or a hub id, got {type(self.place).__name__}")
        _check_inside(self.subfolder, "subfolder")
        if self.variant and not re.fullmatch(r"[\w.-]+", self.variant):
            raise PairingError(f"variant must be a word of file names such as 'fp16', got {self.variant!r}")
        if self.storage_options and not protocol_of(self.place):
            raise PairingError("storage_options are for the file system of a URL, such as s3://bucket/model")

    def __reduce__(self) -> tuple[Any, ...]:
        """What is sent to other processes, and written: all but what is secret."""
        place = shown(str(self.place)) if protocol_of(self.place) else self.place
        return type(self), (place, self.revision, self.subfolder, self.variant)

    def __copy__(self) -> Location:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Location:
        return self

    def __str__(self) -> str:
        return place_of(self).text


#: What names a place: text, a path, or a `Location`.
Named: TypeAlias = "str | Path | Location"


@dataclass(frozen=True, slots=True)
class Address:
    """A place on the hub: which repository, which revision ("": the default branch), and which path in it."""

    hub_id: str
    revision: str = ""
    path: str = ""

    @property
    def name(self) -> str:
        """Repository and path, whatever the revision."""
        return f"{self.hub_id}/{self.path}" if self.path else self.hub_id

    def __str__(self) -> str:
        revision = self.revision if _REFS.fullmatch(self.revision) else quote(self.revision, safe="+ ")
        at = f"@{revision}" if revision else ""
        if not self.path:
            return f"{self.hub_id}{at}"
        return f"{PROTOCOL}{self.hub_id}{at}/{self.path}"


@dataclass(frozen=True, slots=True)
class Place:
    """What a source names, taken apart. text is what messages call it; it has no token."""

    text: str
    path: Path
    address: Address | None = None
    variant: str = ""
    token: str | None = field(default=None, repr=False)
    url: str = field(default="", repr=False)
    options: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def on_disk(self) -> bool:
        """Whether it is a path, and neither on the hub nor behind a URL."""
        return self.address is None and not self.url


def place_of(source: Named) -> Place:
    """Take a source apart. Whether there is anything at a path, or on the hub, is not looked at beyond the name.

    Raises `HubError` for what begins with hf:// and is no place of a model, and `PairingError` for a revision of
    something that is on the disk.

    >>> place_of("hf://user/name@feature%2Fx/unet").address
    Address(hub_id='user/name', revision='feature/x', path='unet')
    >>> place_of("user/name@v1").address
    Address(hub_id='user/name', revision='v1', path='')
    >>> place_of("./user/name@v1").address is None
    True
    """
    location = source if isinstance(source, Location) else Location(source)
    place = location.place
    if protocol_of(place):
        return _behind_url(location, str(place))
    if isinstance(place, str):
        place = on_disk(place) or place
    address = _address(place)
    if address is None:
        path = Path(place)
        if location.revision is not None:
            raise PairingError(
                f"{path} is a place on the disk, and has no revision {location.revision!r}; a repository of the hub is "
                f"named as {PROTOCOL}user/name"
            )
        return Place(str(path / location.subfolder), path / location.subfolder, None, variant=location.variant)
    if location.revision is not None and address.revision not in ("", location.revision):
        raise HubError(f"{place} names the revision {address.revision!r}, and revision={location.revision!r} another")
    address = Address(
        address.hub_id,
        location.revision or address.revision,
        "/".join(filter(None, [address.path, location.subfolder])),
    )
    plain = isinstance(source, str)
    text = str(source) if plain else str(address)
    return Place(text, Path(str(place)), address, variant=location.variant, token=location.token)


def _behind_url(location: Location, url: str) -> Place:
    if location.revision is not None:
        raise PairingError(f"{shown(url)} is behind a URL, and has no revision {location.revision!r}")
    url = joined(url, location.subfolder)
    return Place(shown(url), Path(name_of(url)), variant=location.variant, url=url, options=location.storage_options)


def _address(place: str | Path) -> Address | None:
    """The place on the hub that a text names; None if it names one on the disk."""
    if not isinstance(place, str):
        return None
    if place.startswith(PROTOCOL):
        return _spelled_out(place)
    if not an_id(place) or Path(place).exists():
        return None
    hub_id, _, revision = place.partition("@")
    return Address(hub_id, unquote(revision))


def an_id(source: Named) -> bool:
    """Whether a text may be the hub id of a model, with or without a revision, if there is no file of that name.

    >>> [an_id(text) for text in ("org/model", "org/model@v1", "./model", "model.safetensors", Path("org/model"))]
    [True, True, False, False, False]
    """
    if not isinstance(source, str):
        return False
    hub_id, at, revision = source.partition("@")
    if not _ID.fullmatch(hub_id) or hub_id[0] == "." or Path(source).suffix in _FILES or Path(hub_id).suffix in _FILES:
        return False
    return not at or bool(revision and (_REFS.fullmatch(revision) or not set(revision) & set("/\\@")))


def _spelled_out(place: str) -> Address:
    """What hf://user/name@revision/path says, as huggingface_hub reads it."""
    how = f"it is {PROTOCOL}user/name, {PROTOCOL}user/name@revision or {PROTOCOL}user/name@revision/path"
    body = place.removeprefix(PROTOCOL).removeprefix("models/").removesuffix("/")
    kind, _, rest = body.partition("/")
    if kind in _OTHER_KINDS:
        raise HubError(f"{place} is one of the hub's {kind}, and no model; {how}")
    namespace, revision = kind, ""
    name, _, path = rest.partition("/")
    if "@" in name:  # a revision may hold what the rest begins with
        name, _, behind = rest.partition("@")
        special = _REFS.match(behind)
        if special and behind[special.end() :][:1] in ("", "/"):
            revision, path = special[0], behind[special.end() + 1 :]
        else:
            revision, _, path = behind.partition("/")
            revision = unquote(revision)
        if not revision:
            raise HubError(f"{place} names no revision behind the @; {how}")
    hub_id = f"{namespace}/{name}"
    if not _ID.fullmatch(hub_id) or "." in (namespace[0], name[0]):
        raise HubError(f"{place} is no place on the hub; {how} (of an id without a user, leave {PROTOCOL} out)")
    _check_inside(path, place)
    return Address(hub_id, revision, path)


def _check_inside(path: str, where: str) -> None:
    """Refuse a path below some folder that would lead out of it."""
    parts = path.split("/") if path else []
    if "\\" in path or any(part in ("", ".", "..") for part in parts) or Path(path).is_absolute():
        raise PairingError(f"{where}: {path!r} must be the path of a folder or a file below, such as 'unet'")
