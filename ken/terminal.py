"""Texts for a terminal, whatever it can show: from files of strangers, and our own signs."""

from __future__ import annotations

import codecs
import sys

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


def printable(text: str) -> str:
    """The text with everything that is not printable spelled out, so that no name can steer a terminal.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
