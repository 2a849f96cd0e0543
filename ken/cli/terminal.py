"""Output to a terminal: any text in whatever encoding it has, warnings as a line, Ctrl-C."""

from __future__ import annotations

import codecs
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from ken.errors import KenWarning, printable

# What our own signs become where the encoding has only those of ASCII.
_PLAIN = {"±": "+/-", "−": "-", "–": "-", "×": "x", "…": "...", "→": "->", "“": '"', "”": '"', "’": "'", "·": "*"}


def plainly(error: UnicodeError) -> tuple[str, int]:
    """A handler for `codecs`: a character that the encoding lacks is written with others, or as an escape.

    >>> codecs.register_error("ken", plainly)
    >>> "1.5 ± 0.5 of né".encode("ascii", "ken")
    b'1.5 +/- 0.5 of n\\\\xe9'
    """
    assert isinstance(error, UnicodeEncodeError)
    missing = error.object[error.start : error.end]
    spelled = (_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode("ascii") for c in missing)
    return "".join(spelled), error.end


def _bytes_or_plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    """The same, but bytes of a file name that Python could not decode are written as those bytes."""
    assert isinstance(error, UnicodeEncodeError)
    first = error.object[error.start]
    if "\udc80" <= first <= "\udcff":
        return bytes([ord(first) - 0xDC00]), error.start + 1
    error.end = error.start + 1
    return plainly(error)


def show_anything() -> None:
    """Let both output streams take any text, so that no sign and no name of a file can end a command."""
    codecs.register_error("ken", plainly)
    codecs.register_error("ken-bytes", _bytes_or_plainly)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="ken-bytes" if stream.errors == "surrogateescape" else "ken")


@contextmanager
def ctrl_c() -> Iterator[Callable[[], bool]]:
    """A block that Ctrl-C interrupts as usual; yields a function that says whether it did.

    Compiled code of a library may turn the interrupt into an error of its own, which then looks like a damaged file.

    >>> with ctrl_c() as pressed:
    ...     pressed()
    False
    """
    seen = threading.Event()

    def heed(signum: int, frame: FrameType | None) -> None:
        seen.set()
        signal.default_int_handler(signum, frame)

    # Left alone where it is ignored, as by nohup, or has another handler; only the main thread may set one.
    in_main_thread = threading.current_thread() is threading.main_thread()
    replaced = in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if replaced:
        signal.signal(signal.SIGINT, heed)
    try:
        yield seen.is_set
    finally:
        if replaced:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def in_a_line(name: str) -> Iterator[None]:
    """A block in which a `KenWarning` is a line on the error stream, without a place in the code."""
    usual = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, KenWarning):
            print(f"{name}: warning: {printable(str(message))}", file=file or sys.stderr)
        else:
            usual(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = usual
