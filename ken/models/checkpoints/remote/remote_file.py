"""Some bytes of a file behind a URL: asked for again if that fails, of the right length, of the file once opened."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ken.errors import FormatError, RemoteError, in_brief
from ken.models.checkpoints.remote.urls import protocol_of, shown, without_secrets

Result = TypeVar("Result")

#: How often something is tried, and how long is waited before it is tried again; then twice as long each time.
TRIES = 4
FIRST_WAIT = 0.5
#: So much is asked for at a time.
PIECE = 1 << 24

_EXTRAS = {"s3": "s3", "s3a": "s3", "http": "http", "https": "http"}
_FINAL = (FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError)
_BUSY = (408, 425, 429)
_CLIENTS = ("aiohttp", "botocore", "aiobotocore", "requests", "urllib3", "httpx", "google", "azure", "paramiko")
# What a file is known by; the first three of object stores, the others of servers and disks.
_SIGNS = ("ETag", "etag", "generation", "VersionId", "md5Hash", "Content-MD5", "Last-Modified", "LastModified", "mtime")
_MORE_SIGNS = ("last_modified", "modified", "updated", "created")


class _ShortError(OSError):
    """An answer of another length than was asked for."""


def file_system(url: str, options: Mapping[str, Any] | None = None) -> tuple[Any, str]:
    """fsspec's file system of a URL, and the path in it.

    Raises `RemoteError` if there is no such protocol, or what it takes is not installed.
    """
    from fsspec.core import url_to_fs

    if "::" in url:
        raise RemoteError(f"{shown(url)} is a chain of file systems (::); give the URL of the file or folder itself")
    try:
        fs, path = url_to_fs(url, **(options or {}))
    except ImportError as error:
        extra = _EXTRAS.get(protocol_of(url))
        remedy = f"pip install 'kenviz[{extra}]'" if extra else "fsspec names the package that it takes"
        raise RemoteError(
            f"{shown(url)} cannot be read without a further library ({in_brief(error)}): {remedy}"
        ) from None
    except Exception as error:  # of any file system, about what its URL or its options must be
        raise RemoteError(f"{shown(url)} is no place that fsspec can open: {_words(error, options)}") from None
    return fs, str(path)


class RefusedError(RemoteError):
    """A file that is not there, or may not be read: to try again is of no use."""


class RemoteFile:
    """A file behind a URL, as it is now: when it becomes another one, nothing more of it is given.

    Attributes:
        text: Its URL, as it may be shown.
        size: Its length in bytes.
        stamp: What it is known by: its length, and its tag or the time of its last change.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        self.url, self.text = url, shown(url)
        self._options = dict(options or {})
        self._open()
        info = self._info()
        self.is_file = info.get("type") != "directory"
        self.stamp = _stamp(info)
        self.size = info["size"] if isinstance(info.get("size"), int) else -1

    def _open(self) -> None:
        self._fs, self.path = file_system(self.url, self._options)
        self._process = os.getpid()

    @property
    def identity(self) -> tuple[str, str]:
        """Which file this is, by whatever spelling of its URL."""
        return place_in(self.url, self._options)

    def read(self, at: int, length: int) -> bytearray:
        """Bytes from a place on.

        Raises `FormatError` if the file does not reach so far or has become another one, and `RemoteError` if it
        cannot be read.
        """
        if not 0 <= at <= at + length <= self.size:
            raise FormatError(f"{self.text} has been cut short: it ends before byte {at + length}")
        data = bytearray()
        for start in range(at, at + length, PIECE):
            data += self._piece(start, min(start + PIECE, at + length))
        return data

    def check_ranges(self) -> None:
        """Raise `RemoteError` if no ranges can be read: the length is unknown, or the server sends files whole."""
        if self.size < 0:
            raise RemoteError(f"{self.text}: the server does not say how long it is, and ranges of it cannot be read")
        if protocol_of(self.url) not in ("http", "https") or self.size < 2:
            return

        def probe() -> bytes:
            with self._fs.open(self.path, block_size=1, cache_type="none") as file:
                file.seek(1)
                return bytes(file.read(1))

        try:
            self._tried("read a range", probe)
        except ValueError as error:
            if isinstance(error, RemoteError):
                raise
            raise RemoteError(
                f"{self.text}: the server sends files whole, and no ranges of them; download it, and give its path"
            ) from None

    def whole(self) -> bytes:
        """All of a small file, be its length known before or not."""
        if self.size < 0:
            return bytes(self._tried("read it", lambda: self._fs.cat_file(self.path)))
        if self.size > PIECE:
            return bytes(self.read(0, self.size))

        def get() -> bytes:
            data = bytes(self._fs.cat_file(self.path))
            if len(data) != self.size:
                raise _ShortError(f"{len(data)} bytes came in place of {self.size}")
            return data

        data = self._tried("read it", get)
        self._check_same()
        return data

    def _piece(self, start: int, stop: int) -> bytes:
        def get() -> bytes:
            data = bytes(self._fs.cat_file(self.path, start=start, end=stop))
            if len(data) != stop - start:
                raise _ShortError(f"{len(data)} bytes came in place of {stop - start}")
            return data

        try:
            return self._tried(f"read bytes {start} to {stop}", get)
        finally:
            self._check_same()  # afterwards: what changed before, or meanwhile, shows

    def _check_same(self) -> None:
        if _stamp(self._info()) != self.stamp:
            raise FormatError(f"{self.text} has become another file since it was opened; open it again")

    def _info(self) -> Mapping[str, Any]:
        def ask() -> Mapping[str, Any]:
            self._fs.invalidate_cache(self.path)
            answer: Mapping[str, Any] = self._fs.info(self.path)
            return answer

        return self._tried("look at it", ask)

    def _tried(self, what: str, step: Callable[[], Result]) -> Result:
        if self._process != os.getpid():  # a process that was forked must not use the connections of the other one
            self._open()
        return tried(step, f"{self.text}: to {what}", options=self._options)


def tried(step: Callable[[], Result], what: str, options: Mapping[str, Any] | None = None) -> Result:
    """What a step gives, which is tried again if it fails for a reason that may pass.

    Raises `RemoteError` with the last reason. What a file system refuses for good is not tried again.
    """
    for number in range(1, TRIES + 1):
        try:
            return step()
        except Exception as error:  # of any file system: some of their errors are no OSErrors
            if not isinstance(error, OSError) and not _passing(error) and not _of_a_client(error):
                raise
            if not _passing(error):
                raise RefusedError(f"{what} failed: {_words(error, options)}") from None
            if number == TRIES:
                raise RemoteError(f"{what} failed {number} times: {_words(error, options)}") from None
        time.sleep(FIRST_WAIT * 2 ** (number - 1))
    raise AssertionError("the last try ends in an answer or an error")


def _passing(error: BaseException) -> bool:
    """Whether what failed may work a moment later."""
    status = getattr(error, "status", None)
    if isinstance(status, int) and status >= 300:
        return status in _BUSY or status >= 500
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and cause is not None and type(cause).__module__.startswith("aiohttp"):
        return _passing(cause)  # fsspec says so of whatever HTTP says
    return (isinstance(error, OSError | TimeoutError) and not isinstance(error, _FINAL)) or _of_a_client(error)


def _of_a_client(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in _CLIENTS and not isinstance(error, ValueError)


def _words(error: Exception, options: Mapping[str, Any] | None) -> str:
    text = f"{type(error).__name__}: {without_secrets(in_brief(error))}"
    for secret in _texts(options or {}):
        text = text.replace(secret, "…")
    return text


def _texts(options: Mapping[str, Any]) -> list[str]:
    """The texts among options, which may be secrets; those that are too short are none."""
    texts: list[str] = []
    for value in options.values():
        texts += _texts(value) if isinstance(value, Mapping) else [value] if isinstance(value, str) else []
    return [text for text in texts if len(text) > 3]


def _stamp(info: Mapping[str, Any]) -> tuple[str, ...]:
    return str(info.get("size")), *(f"{sign}={info[sign]}" for sign in (*_SIGNS, *_MORE_SIGNS) if sign in info)


def place_in(url: str, options: Mapping[str, Any] | None = None) -> tuple[str, str]:
    """Which file system a URL is of, and the path in it: the same for every spelling."""
    fs, path = file_system(url, options)
    protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    return str(protocol), path.partition("?")[0].rstrip("/")
