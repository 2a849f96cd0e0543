"""What a file holds, told by how it begins: before another file takes its place."""

from __future__ import annotations

import json
from pathlib import Path

from ken.storage.schema import FORMAT

SUBNETWORK = "a subnetwork"
PAGE = "an HTML page"
TABLE = "the table of a sweep"
RESULTS = "a file of results"
EFFECTS = "a file of effects"
ABLATION = "the table of an ablation"
ATTRIBUTION = "an attribution"
REPORT_DATA = "the data of a report"
PNG = "a picture as PNG"
SVG = "a picture as SVG"
CSV = "a table"  # of any kind: to be told from no other text
FOLDER = "a checkpoint folder"
PART = "a part of a pruning"

_SHOWN = 4096
_LONGEST_HEADER = 100_000_000  # that of the safetensors library
_BLANK = b"\xef\xbb\xbf \t\r\n"
_PAGE = (b"<!doctype html", b"<html")
_PNG = b"\x89PNG\r\n\x1a\n"
_PACKED = (b"PK", b"\x80\x02")  # a zip, and a pickle, as torch writes them
#: How a part of a pruning begins.
PART_BEGINS = b"\x93ken part\n"
#: How `ken.results` begins a file; whoever was killed within the first line leaves a part of it.
_RESULTS = b'{"format": "ken results"'
#: How `ken.ablate` begins one.
_EFFECTS = b'{"format": "ken effects"'
#: How the data of a report begins, without the blanks.
_REPORT_DATA = b'{"schema_id":"urn:kenviz:report:'
#: How the table of `ken.sweep` begins, with or without pandas' column of numbers in front, and before it had scopes.
_TABLE = tuple(
    front + b"model,rule,on,k,seed," + scope + b"retained,entries,share,"
    for front in (b"", b",")
    for scope in (b"scope,", b"")
)

#: How the table of `ken.ablate` begins, likewise.
_ABLATION = (b"way,group,seed,entries,share,metric,", b",way,group,seed,entries,share,metric,")
#: What the header of a file of `ken.Attribution` has.
ATTRIBUTION_KEY = "ken.attribution"


def kind_of(path: Path) -> str:
    """What a file holds, in words that fit behind "it holds": one of the kinds above, or what else it looks like.

    Nothing but the beginning is read. Gives "" for an empty file; raises `OSError` for one that cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "README.md"
    ...     _ = path.write_text("Read me first.")
    ...     kind_of(path)
    'text'
    """
    with path.open("rb") as file:
        head = file.read(_SHOWN)
        if not head:
            return ""
        length = int.from_bytes(head[:8], "little")
        if head[8:9] == b"{" and 2 <= length <= _LONGEST_HEADER:
            header = head[8 : 8 + length]
            return _of_safetensors(header + file.read(length - len(header)))
    if head.startswith(PART_BEGINS):
        return PART
    if head.startswith(_RESULTS) or _RESULTS.startswith(head):
        return RESULTS
    if head.startswith(_EFFECTS) or _EFFECTS.startswith(head):
        return EFFECTS
    if head.lstrip(_BLANK).lower().startswith(_PAGE):
        return PAGE
    if head.startswith(_PNG):
        return PNG
    if head.lstrip(_BLANK).startswith((b"<?xml", b"<svg")) and b"<svg" in head:
        return SVG
    if b"".join(head.split()).startswith(_REPORT_DATA):
        return REPORT_DATA
    if head.startswith(_TABLE):
        return TABLE
    if head.startswith(_ABLATION):
        return ABLATION
    if head.startswith(_PACKED):
        return "weights, or what else is packed so"
    return "bytes of some other kind" if b"\0" in head else "text"


def _of_safetensors(header: bytes) -> str:
    try:
        metadata = json.loads(header).get("__metadata__")
    except (ValueError, AttributeError, RecursionError):
        return "bytes of some other kind"
    if not isinstance(metadata, dict):
        return "weights"
    return SUBNETWORK if FORMAT in metadata else ATTRIBUTION if ATTRIBUTION_KEY in metadata else "weights"
