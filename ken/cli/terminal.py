"""What a terminal is told, whatever it can show: texts of strangers, our own signs, warnings in a line."""

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

# What our own signs become where there are but ASCII's.
_PLAIN = {"±": "+/-", "−": "-", "–": "-", "×": "x", "…": "...", "→": "->", "“": '"', "”": '"', "’": "'", "·": "*"}


def plainly(error: UnicodeError) -> tuple[str, int]:
    """A handler for `codecs`: what an encoding does not have is written with what it has, or spelled out.

    >>> codecs.register_error("ken", plainly)
    >>> "1.5 ± 0.5 of né".encode("ascii", "ken")
    b'1.5 +/- 0.5 of n\\\\xe9'
    """
    assert isinstance(error, UnicodeEncodeError)
    missing = error.object[error.start : error.end]
    spelled = (_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode("ascii") for c in missing)
    return "".join(spelled), error.end


def _bytes_or_plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    """The same, but bytes that Python could not read in the name of a file are those bytes again."""
    assert isinstance(error, UnicodeEncodeError)
    first = error.object[error.start]
    if "\udc80" <= first <= "\udcff":
        return bytes([ord(first) - 0xDC00]), error.start + 1
    error.end = error.start + 1
    return plainly(error)


def show_anything() -> None:
    """Have both output streams take every text: no sign, and no name of a file, ends a command."""
    codecs.register_error("ken", plainly)
    codecs.register_error("ken-bytes", _bytes_or_plainly)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="ken-bytes" if stream.errors == "surrogateescape" else "ken")


@contextmanager
def ctrl_c() -> Iterator[Callable[[], bool]]:
    """A block that is interrupted by Ctrl-C as ever; gives what says whether it was.

    Compiled code of others may turn the interrupt into an error of its own, which then looks like a damaged file.

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
    """A block in which our warnings are a line on the error stream, without a place in the code; others are as ever."""
    before = warnings.showwarning

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
            before(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before
