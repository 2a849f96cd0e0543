"""Errors and warnings: one base class, a few kinds, and a way to add the place to any of them.

Messages state the limit, the place and the value: ``k must be at least 1, got 0``.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

_HEARD: ContextVar[list[str] | None] = ContextVar("heard", default=None)


class KenError(Exception):
    """Base of every error that this project raises on purpose."""


class KenWarning(UserWarning):
    """Something that is probably not what was meant, and that no error stops."""


class BudgetError(KenError, ValueError):
    """A k that no row can satisfy, such as 0 entries or a fraction above 1."""


class ValuesError(KenError, ValueError):
    """Values that a rule cannot rank: NaN, infinity, or a range beyond float64."""


class PairingError(KenError, ValueError):
    """Two checkpoints whose tensors do not belong together."""


class HubError(PairingError):
    """A repository of the hub that is not there, may not be read or written, or cannot be reached."""


class RemoteError(PairingError):
    """A URL at which there is nothing, or that cannot be read or written."""


class RuleError(KenError, ValueError):
    """An unknown rule, or one that was to retain min(k, n) entries of every row and retained another number."""


class SubnetworkError(KenError, ValueError):
    """A subnetwork that contradicts itself, or does not fit the model it is injected into."""


class FormatError(SubnetworkError):
    """A subnetwork file that is damaged, was made by a newer version, or cannot be written."""


class ResultsError(KenError, ValueError):
    """Results that cannot be used: of an evaluation that gives no number, or in a file that is about something else."""


class EffectsError(KenError, ValueError):
    """Nothing that effects could be measured by, or settings that make no sense for it."""


class OutputError(KenError, ValueError):
    """An output that would take the place of something that is read, or of a file that holds something else."""


class PartsError(KenError, ValueError):
    """Parts of a pruning that are missing or damaged, or that do not belong together."""


class ExecutorError(KenError, RuntimeError):
    """Workers that are gone, or hang, or cannot do what is asked of them; or nothing that work can be given to."""


class ReportError(KenError, ValueError):
    """What a report cannot give: a fact or a threshold of no known name, a value that is missing."""


class ThresholdError(ReportError):
    """Thresholds that a report has crossed; it was written all the same.

    Attributes:
        crossed: Each of them with the value that crossed it; as text, a line to be shown.
    """

    def __init__(self, crossed: Sequence[object]) -> None:
        super().__init__("; ".join(map(str, crossed)))
        self.crossed = tuple(crossed)


class DemoError(KenError, RuntimeError):
    """The demonstration pair cannot be made: a package is missing, or a cached file is damaged."""


class TrainingError(KenError, ValueError):
    """Texts, labels or settings that a classifier cannot work with, or a loss that is no number."""


@contextmanager
def at_tensor(name: str) -> Iterator[None]:
    """Add the tensor's name to any error that passes through, without rewording it.

    >>> try:
    ...     with at_tensor("encoder.layer.0.weight"):
    ...         raise ValuesError("row 3, column 7 is nan")
    ... except ValuesError as error:
    ...     print(error, "|", *error.__notes__)
    row 3, column 7 is nan | in tensor 'encoder.layer.0.weight'
    """
    try:
        yield
    except Exception as error:
        error.add_note(f"in tensor {name!r}")
        raise


def warn(text: str) -> None:
    """Warn, at the line of the user's code that called this package, however deep inside it the warning arose.

    Args:
        text: The warning: something that is probably not what was meant.

    Example:
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn("the two models may be the wrong way round")
        >>> caught[0].category.__name__
        'KenWarning'
    """
    heard = _HEARD.get()
    if heard is not None:
        heard.append(text)
        return
    level, frame = 1, sys._getframe()
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in ("ken", "kenviz"):
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    warnings.warn(text, KenWarning, stacklevel=level)


@contextmanager
def hearing() -> Iterator[list[str]]:
    """What is warned of in a block, instead of warnings: of this thread alone, unlike `warnings.catch_warnings`.

    >>> with hearing() as heard:
    ...     warn("the part is damaged")
    >>> heard
    ['the part is damaged']
    """
    heard: list[str] = []
    token = _HEARD.set(heard)
    try:
        yield heard
    finally:
        _HEARD.reset(token)


def printable(text: str) -> str:
    """The text with everything that is not printable spelled out, so that no name can steer a terminal.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def in_brief(error: Exception) -> str:
    """What an error of other code says, on one line of at most 200 characters; its class if it says nothing.

    >>> in_brief(ValueError("two\\nlines")), in_brief(KeyError())
    ('two lines', 'KeyError')
    """
    return " ".join(str(error).split())[:200] or type(error).__name__
