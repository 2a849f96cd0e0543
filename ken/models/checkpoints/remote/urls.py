"""URLs of file systems: which texts are some, and what of them may be shown. No credential is in what is shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_URL = re.compile(r"(?P<protocol>[a-z][a-z0-9+.-]+)://(?P<rest>.+)", re.DOTALL)
_HUB = "hf"
_DISK = ("file", "local")
_LOGIN = re.compile(r"(?<=://)[^/\s'\"]*@")
_QUERY = re.compile(r"[?#][^\s'\"]*")


def protocol_of(source: Any) -> str:
    """The protocol of a text that names a place in a file system other than the disk's and the hub's; else nothing.

    >>> protocol_of("s3://bucket/model"), protocol_of("hf://user/name"), protocol_of("file:///a"), protocol_of("a/b")
    ('s3', '', '', '')
    """
    match = _URL.fullmatch(source) if isinstance(source, str) else None
    return "" if match is None or match["protocol"] in (_HUB, *_DISK) else match["protocol"]


def on_disk(source: str) -> Path | None:
    """The path that a URL of the disk names; None for anything else.

    >>> on_disk("file:///a%20b/c").as_posix(), on_disk("/a")
    ('/a b/c', None)
    """
    match = _URL.fullmatch(source)
    if match is None or match["protocol"] not in _DISK:
        return None
    return Path(unquote(urlsplit(source).path) if source.startswith("file:///") else match["rest"])


def shown(url: str) -> str:
    """A URL without name and password, query and fragment: what may stand in texts, files and messages.

    >>> shown("https://me:secret@host/a.safetensors?X-Amz-Signature=12")
    'https://host/a.safetensors'
    """
    return without_secrets(url)


def without_secrets(text: str) -> str:
    """A text without what URLs in it may hold of credentials.

    >>> without_secrets("404, url='https://host/a?sig=12'")
    "404, url='https://host/a'"
    """
    return re.sub(r"[a-z][a-z0-9+.-]+://[^\s'\"]+", lambda url: _QUERY.sub("", _LOGIN.sub("", url[0])), text)


def joined(url: str, below: str) -> str:
    """The URL of what lies below another one, whose query stays behind it.

    >>> joined("https://host/a/?sig=12", "b/c.json")
    'https://host/a/b/c.json?sig=12'
    """
    place, mark, query = url.partition("?")
    return f"{place.rstrip('/')}/{below}{mark}{query}" if below else url


def name_of(url: str) -> str:
    """What a file or folder is called: the last part of its URL.

    >>> name_of("s3://bucket/models/a.safetensors?versionId=1"), name_of("s3://bucket/")
    ('a.safetensors', 'bucket')
    """
    return shown(url).rstrip("/").rpartition("/")[2]
