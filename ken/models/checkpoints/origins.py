"""Where a model came from, as far as it can be told: repository, commit, licence; and what its model card says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ken.errors import KenError
from ken.models.checkpoints.hub import in_cache, locate, one_file, snapshot
from ken.models.checkpoints.links import leads_out, snapshot_around
from ken.models.checkpoints.location import Address, Location, Named, Place, an_id, place_of

CARD = "README.md"
_LONGEST = 1 << 22  # of a card; no more of it is read
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_FOLDER = "models--"


@dataclass(frozen=True, slots=True)
class Origin:
    """Which repository of the hub a model came from, the revision as it was asked for, the commit, and the licence.

    What is not known is empty. A model that is on the disk may have a licence, by its card.
    """

    hub_id: str = ""
    revision: str = ""
    commit: str = ""
    licence: str = ""


def origin_of(place: Place, path: Path) -> Origin:
    """The origin of what was read from a path, by its place in a cache of the hub and by its card.

    >>> origin_of(place_of("here"), Path("models--org--name/snapshots/0123abc/model.safetensors"))
    Origin(hub_id='org/name', revision='', commit='0123abc', licence='')
    """
    revision = "" if place.address is None else place.address.revision
    hub_id = "" if place.address is None else place.address.hub_id
    cached = _snapshot(path) or _snapshot(_resolved(path))
    commit = ""
    if cached is not None:
        hub_id, commit = _id_of(cached), cached.name
    return Origin(hub_id, revision, commit, licence=_licence(_card_around(path)))


def origin_of_module(module: Any) -> Origin:
    """The origin of a live model, by its configuration: where it was loaded from and, of some versions, the commit."""
    config = getattr(module, "config", None)
    commit = getattr(config, "_commit_hash", None)
    name = str(getattr(config, "_name_or_path", "") or "")
    if (place := _snapshot(Path(name))) is not None:
        return Origin(_id_of(place), "", place.name, licence=_licence(_card_around(Path(name))))
    # A name alone may also be that of a folder which is gone: the cache must know it.
    if "/" not in name or not an_id(name) or Path(name).exists() or in_cache(name) is None:
        return Origin()
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        return Origin(name)
    folder = snapshot(Address(name, commit))
    return Origin(name, "", commit, licence=_licence(_card_around(folder)) if folder else "")


def bases_named(source: Named) -> list[str]:
    """What the model card of a model calls its base_model; empty if there is no card, or it names none.

    >>> bases_named("no/such/folder")
    []
    """
    place = place_of(source)
    path = place.path if place.on_disk else locate(source)
    card = _card_around(path) if path.exists() else {}
    if not card and place.address is not None:  # of a file that was got alone
        try:
            card = _metadata(one_file(place, place.address, CARD))
        except KenError:
            card = {}
    named = card.get("base_model")
    bases = named if isinstance(named, list) else [named]
    return list(dict.fromkeys(base.strip() for base in bases if isinstance(base, str) and base.strip()))


def with_token(base: str, source: Named) -> Named:
    """A base that a model names, to be got with the token that the model was got with."""
    token = place_of(source).token if isinstance(source, Location) else None
    return base if token is None or Path(base).exists() else Location(base, token=token)


def _card_around(path: Path) -> Mapping[str, Any]:
    """The metadata of the card in a folder, or beside a file; in a cache also of that at the top of the repository."""
    for folder in _folders(path):
        if (folder / CARD).is_file() and not leads_out(folder, CARD):
            return _metadata(folder / CARD)
    return {}


def _folders(path: Path) -> Iterator[Path]:
    folder = path if path.is_dir() else path.parent
    yield folder
    top = snapshot_around(folder)
    if top is not None and top != folder:
        yield top


def _metadata(card: Path) -> Mapping[str, Any]:
    """The metadata at the top of a model card. What cannot be read is as good as nothing: a card is for people."""
    from huggingface_hub import metadata_load

    try:
        if card.stat().st_size > _LONGEST:
            return {}
        metadata = metadata_load(card)
    except Exception:  # of the disk, of YAML, and of what it may hold
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _licence(card: Mapping[str, Any]) -> str:
    """The licence that a card names, in a few words."""
    named = card.get("license")
    licences = named if isinstance(named, list) else [named]
    text = ", ".join(licence for licence in licences if isinstance(licence, str))
    own = card.get("license_name")
    return f"{text} ({own})"[:200] if text == "other" and isinstance(own, str) else text[:200]


def _snapshot(path: Path) -> Path | None:
    """The folder of a commit of a model, in a cache of the hub, that a path lies in; None if it lies elsewhere."""
    folder = snapshot_around(path)
    if folder is None or not _COMMIT.fullmatch(folder.name):
        return None
    return folder if folder.parents[1].name.startswith(_FOLDER) else None


def _id_of(folder: Path) -> str:
    return folder.parents[1].name.removeprefix(_FOLDER).replace("--", "/")


def _resolved(path: Path) -> Path:
    """Where a folder lies, links followed; of a file that of its folder, since the file itself is a link in a cache."""
    return path.resolve() if path.is_dir() else path.parent.resolve() / path.name
