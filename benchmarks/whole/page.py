"""The table as text, and as a part of docs/performance.md: of the measured lines alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from marked_pages import head, row

from whole.lines import Line
from whole.machine import Machine
from whole.stage_rows import IN_ORDER, PARTS, TOGETHER
from whole.words import WORDS

#: Others may use so much of the processors before wall times stop to count.
QUIET = 0.05
_COLUMNS = ("wall", "CPU", "memory", "peer: wall", "CPU", "memory", "ratio: wall", "CPU", "floor", "wall/floor", "aim")


def text(machine: Machine, lines: Iterable[Line]) -> str:
    """For a terminal."""
    lines = list(lines)
    width = max(len(one.name) for one in lines)
    shown = [
        machine.text(),
        state(lines),
        "",
        " " * width + "".join(f"{column:>12}" for column in _COLUMNS[:-1]) + "  aim",
    ]
    for group, members in groupby(lines, lambda one: one.group):
        shown += ["", group]
        for one in members:
            *cells, aim = _cells(one)
            shown.append(f"{one.name:{width}}" + "".join(f"{cell:>12}" for cell in cells) + f"  {aim}")
    return "\n".join([*shown, "", *conclusions(lines)])


def markdown(machine: Machine, lines: Sequence[Line]) -> str:
    """The part of the page."""
    parts = [f"{machine.text()}.", "", state(lines), "", *conclusions(lines), ""]
    for group, members in groupby(lines, lambda one: one.group):
        members = list(members)
        parts += [f"**{group}**", "", *head("", _COLUMNS)]
        parts += [row(one.name, _cells(one)) for one in members]
        parts += [""]
        for kind in dict.fromkeys(one.kind for one in members):
            names = [one.name for one in members if one.kind == kind]
            parts.append(f"- {names[0]}{' …' if len(names) > 1 else ''}: {WORDS[kind]}")
        parts += [""]
    return "\n".join(parts)


def state(lines: Sequence[Line]) -> str:
    """What a reader must know of the conditions."""
    rounds = sorted({one.rounds for one in lines})
    medians = f"Medians of {' or '.join(map(str, rounds))}"
    others = sorted(one.others for one in lines)
    busiest, usual = others[-1], others[len(others) // 2]
    if usual <= QUIET:
        return f"{medians}; other processes used {usual:.0%} of the processors, {busiest:.0%} at most."
    return (
        f"{medians}. **The machine was busy**: other processes used {usual:.0%} of the processors (median of the rows; "
        f"at most {busiest:.0%}). Wall times do not count then; ratios of processor time do, within a tenth or two."
    )


def conclusions(lines: Sequence[Line]) -> list[str]:
    """What takes longest on the way from disk to a file, and what more cores would give, from measured lines."""
    by_name = {one.name: one for one in lines}
    parts = {part: by_name[f"{part}, alone"] for part in PARTS if f"{part}, alone" in by_name}
    if len(parts) < len(PARTS):
        return []
    slowest = max(parts, key=lambda part: parts[part].cpu)
    total = sum(one.cpu for one in parts.values())
    sentences = [
        f"From disk to a file, {slowest} takes {parts[slowest].cpu / total:.0%} of the processor time of the parts; "
        "the others: " + ", ".join(f"{part} {parts[part].cpu / total:.0%}" for part in PARTS if part != slowest) + "."
    ]
    in_order = sum(parts[part].cpu for part in IN_ORDER) / total
    sentences.append(
        f"What follows in order in one thread ({', '.join(IN_ORDER)}) is at most {in_order:.0%} of it: one "
        f"process is not more than {1 / in_order:.1f} times as quick with any number of cores, and several, each "
        "with a part of the tensors, share none of that."
    )
    one, two = (by_name.get(TOGETHER.format(cores)) for cores in ("one", "two"))
    if one is None or two is None:
        pass
    elif max(one.others, two.others) > QUIET:
        sentences.append("How one core and two compare, and what 16 and 64 would give, a busy machine does not tell.")
    else:
        serial = serial_fraction(one.wall, two.wall)
        gains = {cores: 1 / (serial + (1 - serial) / cores) for cores in (16, 64)}
        sentences.append(
            f"With one core {one.wall:.2f} s, with two {two.wall:.2f} s: a fraction of {serial:.2f} is serial "
            f"(Amdahl), so 16 cores would be {gains[16]:.1f} times as quick as one, 64 cores {gains[64]:.1f} times."
        )
    return [" ".join(sentences)]


def serial_fraction(one: float, two: float) -> float:
    """What share of the time on one core cannot be shared, if two cores take so long; between 0 and 1.

    >>> serial_fraction(10, 5), serial_fraction(10, 10), serial_fraction(10, 6)
    (0.0, 1.0, 0.19999999999999996)
    """
    return min(1.0, max(0.0, 2 * two / one - 1))


def _cells(one: Line) -> list[str]:
    has_peer, has_floor = one.peer_cpu > 0, one.floor > 0
    return [
        f"{_number(one.wall)} {one.unit}",
        _number(one.cpu),
        _memory(one.peak),
        _number(one.peer_wall) if has_peer else "",
        _number(one.peer_cpu) if has_peer else "",
        _memory(one.peer_peak) if has_peer else "",
        f"{one.wall / one.peer_wall:.2f}" if has_peer else "",
        f"{one.cpu / one.peer_cpu:.2f}" if has_peer else "",
        _number(one.floor) if has_floor else "",
        f"{one.wall / one.floor:.0f}" if has_floor else "",
        f"{one.aim}",
    ]


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 9.95 else f"{value:.2f}"


def _memory(peak: int) -> str:
    return f"{peak / 1e9:.2f} GB" if peak else ""
