"""The table of docs/performance.md and its growth against what was measured; and what measures it."""

import doctest
import json
from dataclasses import replace
from pathlib import Path

import benchmark
import marked_pages
import numpy as np
import pytest
import scaling_page
from whole import lines, machine, measuring, page, words
from whole.lines import Kept, Line, Setting
from whole.measuring import Sample

DOCS = Path(__file__).parent.parent / "docs"
MACHINE = machine.Machine("1 May 2026", "a processor", 2, "Python 3", memory=1e10, read=1e9, write=5e8)


def part(name):
    text = (DOCS / "performance.md").read_text(encoding="utf-8")
    command = {"performance": "make benchmark", "scaling": "make scaling"}[name]
    return marked_pages.part_of(text, name, command=command)


def test_the_table_of_the_page_is_what_was_measured():
    assert part("performance") == page.markdown(*lines.from_csv(benchmark.TABLE.read_text(encoding="utf-8")))


def test_the_growth_on_the_page_is_what_was_measured():
    assert part("scaling") == scaling_page.markdown(
        *scaling_page.from_csv(scaling_page.TABLE.read_text(encoding="utf-8"))
    )
    assert scaling_page.FIGURE.read_bytes().startswith(b"\x89PNG")


def test_every_kind_of_row_that_is_measured_is_explained():
    _, measured = lines.from_csv(benchmark.TABLE.read_text(encoding="utf-8"))
    assert {line.kind for line in measured} <= words.WORDS.keys()
    with pytest.raises(ValueError, match=r"no line of prose for 'unheard of'"):
        Line("a group", "a name", "unheard of")


def some_lines():
    parts = [
        Line("parts", f"{name}, alone", name, wall=wall, cpu=wall, rounds=5)
        for name, wall in zip(page.PARTS, (1.0, 5.0, 2.0, 1.0, 1.0), strict=True)
    ]
    one, two = (
        Line("parts", page.TOGETHER.format(cores), "together", wall=wall, cpu=10, peer_wall=8, peer_cpu=5, floor=0.5)
        for cores, wall in (("one", 10.0), ("two", 6.0))
    )
    return [*parts, one, two]


def test_a_row_of_the_table_has_ratios_and_its_floor():
    text = page.markdown(MACHINE, some_lines())
    assert "| all together, one of two cores | 10.0 s | 10.0 |  | 8.00 | 5.00 |  | 1.25 | 2.00 | 0.50 | 20 |  |" in text
    assert "- all together, one of two cores …: " + words.WORDS["together"] in text
    assert "| writing, alone | 1.00 s | 1.00 |  |  |  |  |  |  |  |  |  |" in text


def test_the_bottleneck_and_more_cores_follow_from_the_lines():
    (sentence,) = page.conclusions(some_lines())
    assert "deciding takes 50% of the processor time" in sentence
    assert "a fraction of 0.20 is serial" in sentence
    assert "16 cores would be 4.0 times as quick as one, 64 cores 4.7 times" in sentence
    assert "is at most 40% of it: one process is not more than 2.5 times as quick" in sentence
    assert page.conclusions(some_lines()[:3]) == []
    (busy,) = page.conclusions([replace(line, others=0.5) for line in some_lines()])
    assert "is serial" not in busy
    assert "a busy machine does not tell" in busy


@pytest.mark.parametrize(("others", "words_"), [(0.01, "used 1% of the processors"), (0.5, "**The machine was busy**")])
def test_a_busy_machine_is_told(others, words_):
    assert words_ in page.state([Line("a", "b", "help", rounds=5, others=others)])


def test_a_line_has_medians_in_its_unit():
    line = lines.line("a", "b", "help", own=[Sample(1, 3, 7), Sample(9, 2, 5), Sample(2, 1, 6)], scale=1e3, unit="ms")
    assert (line.rounds, line.wall, line.cpu, line.peak, line.peer_cpu) == (3, 2000, 2000, 6, 0)
    assert Setting(1, Path(), machine=MACHINE).floor(10**10, 10**9) == 3


def test_groups_are_whole_in_the_order_in_which_they_begin():
    mixed = [Line(group, name, "help") for group, name in (("b", "1"), ("a", "2"), ("b", "3"))]
    assert [line.name for line in benchmark.by_group(mixed)] == ["1", "3", "2"]


def test_an_interrupted_run_goes_on_and_another_version_begins_anew(tmp_path):
    kept = Kept(tmp_path / "lines.jsonl", {"rounds": 5, "commit": "a"})
    setting = Setting(5, tmp_path, machine=kept.begin(MACHINE))

    def broken(setting):
        yield Line("a", "b", "help")
        raise KeyboardInterrupt

    assert [line.name for line in kept.measure("whole", lambda _: [Line("a", "first", "help")], setting)] == ["first"]
    with pytest.raises(KeyboardInterrupt):
        list(kept.measure("broken", broken, setting))
    assert [(name, one.name) for name, (one,) in kept.batches().items()] == [("whole", "first")]
    again = Kept(kept.path, {"rounds": 5, "commit": "a"})
    assert again.begin(machine.Machine(**{**MACHINE.as_dict(), "cores": 64})) == MACHINE
    other = Kept(kept.path, {"rounds": 5, "commit": "b"})
    assert other.batches() == {}
    other.begin(MACHINE)
    assert len(kept.path.read_text(encoding="utf-8").splitlines()) == 1
    assert json.loads(kept.path.read_text(encoding="utf-8"))["commit"] == "b"


def test_a_process_tells_what_it_prints_and_what_it_took(tmp_path):
    sample, text = measuring.process("import sys; print(sys.argv[1:]); x = b'1' * 50_000_000", "a", 2, cores=1)
    assert text == "['a', '2']\n"
    assert sample.wall > 0
    assert 50_000_000 < sample.peak < 10**9
    (tmp_path / "code.py").write_text("print(__name__, __file__.rpartition('/')[2])")
    assert measuring.process(str(tmp_path / "code.py"))[1] == "__main__ code.py\n"
    with pytest.raises(RuntimeError, match=r"(?s)ended with 1: .*no such thing"):
        measuring.process("raise ValueError('no such thing')")


def test_growth_is_told_by_a_power_and_a_straight_line():
    points = [
        {"series": series, "x": x, "wall": wall, "cpu": wall, "peak": 10**9, "others": 0.0}
        for series, x, wall in (
            *(("entries", m << 20, 2.0 * m) for m in (1, 2, 4, 8, 16)),
            *(("n", n, 1.0) for n in (128, 1024)),
            *(("k", k, 1.0 + k / 1024) for k in (256, 512, 1024)),
            ("threads", 1, 2.0),
            ("threads", 2, 1.0),
        )
    ]
    text = scaling_page.markdown(MACHINE, points)
    assert "entries to the power 1.00" in text
    assert "a straight line explains 100.0% of the variance" in text
    assert scaling_page.from_csv(scaling_page.to_csv(MACHINE, points)) == (MACHINE, points)
    drawn = scaling_page.figure(points)
    panels = drawn.axes
    assert [panel.get_xlabel() for panel in panels] == list(scaling_page.SERIES.values())
    wall = panels[0].get_lines()[0]
    np.testing.assert_array_equal(wall.get_ydata(), [2, 4, 8, 16, 32])


@pytest.mark.parametrize("module", [lines, measuring, page, scaling_page], ids=lambda module: module.__name__)
def test_their_examples_run(module):
    assert doctest.testmod(module).failed == 0
