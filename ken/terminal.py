"""Texts from files of strangers, for a terminal."""


def printable(text: str) -> str:
    """The text with everything that is not printable spelled out, so that no name can steer a terminal.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
