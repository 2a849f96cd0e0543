"""What transformers says of a class of models, kept from one process to the next.

To ask the library, its modelling code has to be imported and the class to be built, which takes longer than to prune a
small model. The answer depends on class, configuration, installed libraries and the code that asks, and these make the
name of a file in the user's cache. A file that is damaged or cannot be written only means that the library is asked
again.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

from ken import __version__
from ken.models.tensors.tensor_bytes import digest
from ken.models.user_cache import user_cache

_MOST = 256  # files; the oldest ones go first
_LIBRARIES = ("transformers", "torch")


def recall(class_name: str, config: str) -> dict[str, Any] | None:
    """What has been kept of a class with a configuration in JSON; None if nothing, or nothing that can be read."""
    path = _path(class_name, config)
    with suppress(OSError, ValueError):
        facts = json.loads(path.read_text(encoding="utf-8")) if path else None
        return facts if isinstance(facts, dict) else None
    return None


def keep(class_name: str, config: str, facts: Mapping[str, Any]) -> None:
    """Keep what JSON can hold for the processes to come, if there is a place for it."""
    path = _path(class_name, config)
    if path is None:
        return
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(facts, file)
            Path(part).replace(path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
        by_age = sorted(path.parent.glob("*.json"), key=lambda kept: kept.stat().st_mtime)
        for old in by_age[:-_MOST]:
            old.unlink(missing_ok=True)


def _path(class_name: str, config: str) -> Path | None:
    installed = _installed()
    if not installed:
        return None
    key = digest("\0".join((__version__, _asked(), installed, class_name, config)).encode("utf-8", "surrogatepass"))
    return user_cache() / "classes" / f"{key}.json"


@cache
def _asked() -> str:
    """The checksum of the code that asks, which changes between two versions, too."""
    return digest(b"\0".join(path.read_bytes() for path in sorted(Path(__file__).parent.rglob("*.py"))))


@cache
def _installed() -> str:
    """What tells one installation of the libraries from another: the checksums of their files as pip has noted them.

    Empty where there is none that would change with the code: of a library that is edited where it lies, or that is not
    the installed one, as another of its name is found before it.
    """
    notes = []
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError, ValueError):
            library = metadata.distribution(name)
            record = library.read_text("RECORD")
            url = json.loads(library.read_text("direct_url.json") or "{}")
            edited = url.get("dir_info", {}).get("editable")
            installed = Path(str(library.locate_file(f"{name}/__init__.py"))).resolve()
            if record and not edited and _origin(name) == installed:
                notes.append(f"{name} {library.version} {digest(record.encode())}")
    return "\n".join(notes) if len(notes) == len(_LIBRARIES) else ""


def _origin(name: str) -> Path | None:
    """The file of a package that has been imported, or would be; None if there is none."""
    module = sys.modules.get(name)
    spec = None if module is None else module.__spec__
    if spec is None:
        spec = util.find_spec(name)
    return Path(spec.origin).resolve() if spec is not None and spec.origin else None
