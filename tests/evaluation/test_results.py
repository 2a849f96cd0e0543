import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ken import results
from ken.errors import ResultsError
from ken.results import About, Key, Record, collecting

ABOUT = About(fine_tuned="a" * 32, pretrained="b" * 32, exclude=("head.*",), evaluation="texts")
NUMBERS = st.floats() | st.floats(0, 1)


@st.composite
def keys(draw):
    shares = st.floats(0, 1, exclude_min=True)
    budgets = st.integers(1, 2**40) | shares
    k = draw(st.none() | budgets | st.dictionaries(st.sampled_from(["*", "a.*", "σ\n"]), budgets, min_size=1))
    model = draw(st.sampled_from(["fine-tuned", "pretrained", "pruned"]))
    return Key(
        model,
        draw(st.text('kσ\n"\x1b')),
        draw(st.sampled_from(["", "update"])),
        k=k,
        seed=draw(st.integers(-1, 9)),
        scope=draw(st.sampled_from(["row", "tensor", "model"])),
    )


@st.composite
def records(draw):
    outcomes = draw(st.none() | hnp.arrays(bool, st.integers(0, 40)))
    further = draw(st.dictionaries(st.text("xyσ"), NUMBERS, max_size=2))
    return Record(
        draw(keys()),
        draw(st.integers(0, 2**40)),
        2**40,
        metric=draw(NUMBERS),
        standard_error=draw(NUMBERS),
        metrics=further,
        outcomes=outcomes,
    )


def bits(record):
    """A record as something that is equal if all its bits are."""
    numbers = np.array([record.metric, record.standard_error, *record.metrics.values()])
    outcomes = None if record.outcomes is None else record.outcomes.tolist()
    # NaN is one value here: what it carries besides is not kept.
    numbers[np.isnan(numbers)] = math.nan
    return record.key.text, record.retained, record.entries, list(record.metrics), numbers.tobytes(), outcomes


def unique(evaluated):
    return list({record.key.text: record for record in evaluated}.values())


@given(st.lists(records(), max_size=4).map(unique), st.data())
def test_what_is_kept_comes_back_bit_for_bit_wherever_the_file_was_cut(tmp_path_factory, evaluated, data):
    path = tmp_path_factory.mktemp("results") / "r.jsonl"
    ends = []
    with collecting(path, ABOUT) as kept:
        ends.append(path.stat().st_size)
        for record in evaluated:
            assert kept.get(record.key) is None
            kept.add(record)
            ends.append(path.stat().st_size)
    whole = path.read_bytes()
    assert whole.endswith(b"\n")
    assert whole.count(b"\n") == len(evaluated) + 1

    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    with collecting(path, ABOUT) as kept:
        for record, end in zip(evaluated, ends[1:], strict=True):
            again = kept.get(record.key)
            assert (again is not None) == (end <= cut)
            if again is None:
                kept.add(record)
            else:
                assert bits(again) == bits(record)
    assert path.read_bytes() == whole

    table = results.read(path)
    assert len(table) == len(evaluated)
    for (_, line), record in zip(table.iterrows(), evaluated, strict=True):
        assert line["model"] == record.key.model
        assert line["k"] == record.key.k or (record.key.k is None and math.isnan(line["k"]))
        assert type(line["k"]) in {type(record.key.k), float}
        np.testing.assert_array_equal(line["outcomes"], record.outcomes)
        np.testing.assert_array_equal(line["metric"], record.metric)


def test_lines_that_do_not_know_of_scopes_are_about_rows(tmp_path):
    path = tmp_path / "r.jsonl"
    key = Key("pruned", "update", k=0.5)
    with collecting(path, ABOUT) as kept:
        kept.add(Record(key, 5, 10, metric=0.5))
        kept.add(Record(key._replace(scope="model"), 5, 10, metric=0.75))
    first, *lines = path.read_text().splitlines()
    old = [{name: value for name, value in json.loads(lines[0]).items() if name != "scope"}]
    path.write_text("\n".join([first, *map(json.dumps, old), *lines[1:], ""]))
    with collecting(path, ABOUT) as kept:
        assert kept.get(key).metric == 0.5
        assert kept.get(key._replace(scope="model")).metric == 0.75
        assert kept.get(key._replace(scope="tensor")) is None
    assert results.read(path)["scope"].tolist() == ["row", "model"]
    assert key.text == '["pruned", "update", "", 0.5, -1, 0]'


def test_one_entry_and_all_entries_are_two_things(tmp_path):
    with collecting(tmp_path / "r", ABOUT) as kept:
        for k in (1, 1.0, {"a": 1, "*": 2}, {"*": 2, "a": 1}):
            assert kept.get(Key("pruned", "ken", "", k=k)) is None
            kept.add(Record(Key("pruned", "ken", "", k=k), 1, 2, metric=0.5))
    assert [repr(k) for k in results.read(tmp_path / "r")["k"]] == ["1", "1.0", "{'a': 1, '*': 2}", "{'*': 2, 'a': 1}"]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "r.jsonl"
    with collecting(path, ABOUT) as kept:
        kept.add(Record(Key("fine-tuned"), 10, 10, metric=0.7, outcomes=np.array([True, False, True])))
        kept.add(
            Record(Key("pruned", "ken", "weights", k=0.5), 5, 10, metric=0.6, outcomes=np.array([True, False, False]))
        )
    return path


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"fine_tuned": "c" * 32}, f"another fine-tuned model, with the fingerprint '{'a' * 32}' instead of 'cccc"),
        ({"pretrained": "c" * 32}, "another pretrained model, with the fingerprint 'bbbb"),
        ({"exclude": ()}, r"another exclude, \('head.\*',\) instead of \(\)"),
        ({"bandwidth": 0.5}, "another bandwidth, 'normal reference' instead of 0.5"),
        ({"kernel": "cosine"}, "another kernel, 'gaussian' instead of 'cosine'"),
        ({"evaluation": ""}, "another evaluation, 'texts' instead of ''; give another file"),
    ],
)
def test_results_of_anything_else_are_refused_and_left_alone(path, other, message):
    before = path.read_bytes() + b'{"torn'
    path.write_bytes(before)
    with pytest.raises(ResultsError, match=message), collecting(path, ABOUT.model_copy(update=other)):
        pytest.fail("was opened")
    assert path.read_bytes() == before


def test_a_file_that_another_version_of_ken_began_goes_on(path):
    with collecting(path, ABOUT.model_copy(update={"ken": "99.0"})) as kept:
        assert kept.get(Key("fine-tuned")).metric == 0.7


HEAD = ABOUT.line()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text,label\nA text,1\n", "is no file of results: its first line does not say so; it is left as it is"),
        (b"no line end at all", "is no file of results"),
        (b"\n", "is no file of results"),
        (b"\xff\xfe\x00\n", "is no file of results"),
        (b"[1]\n", "is no file of results"),
        (b'{"format": "another"}\n', "is no file of results"),
        (HEAD.replace(b'"version": 1', b'"version": 2'), "has version 2 of the format, this is a reader of version 1"),
        (HEAD.replace(b'"kernel": "gaussian"', b'"kernel": 3'), "is damaged in line 1: Input should be a valid string"),
        (HEAD + b"{}\n", "is damaged in line 2: Field required"),
        (HEAD + b"\x00\x00\n", "is damaged in line 2"),
    ],
)
def test_other_files_and_damaged_ones_are_refused_and_left_alone(tmp_path, content, message):
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    with pytest.raises(ResultsError, match=message), collecting(path, ABOUT):
        pytest.fail("was opened")
    with pytest.raises(ResultsError, match=message):
        results.read(path)
    assert path.read_bytes() == content


def test_a_damaged_record_is_told_with_its_line(path):
    lines = path.read_bytes().splitlines(keepends=True)
    for wrong, message in (
        (("count", 30), "30 outcomes take 4 bytes, got 1"),
        (("bits", "x0"), "String should match pattern"),
    ):
        record = json.loads(lines[1])
        record["outcomes"][wrong[0]] = wrong[1]
        path.write_bytes(lines[0] + json.dumps(record).encode() + b"\n" + lines[2])
        with pytest.raises(ResultsError, match=f"is damaged in line 2: .*{message}"), collecting(path, ABOUT):
            pytest.fail("was opened")


def test_a_file_is_read_while_a_line_is_being_written(path):
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert results.read(path)["model"].tolist() == ["fine-tuned"]
    assert path.read_bytes() == whole[:-5]
    path.write_bytes(HEAD[:20])
    with pytest.raises(ResultsError, match="no file of results"):
        results.read(path)


def test_two_processes_do_not_write_to_one_file(path):
    code = f"""
        import sys
        from ken.results import About, collecting
        with collecting({str(path)!r}, About(**{ABOUT.model_dump()!r})):
            print("open", flush=True)
            sys.stdin.read()
    """
    code = "\n".join(line.removeprefix(" " * 8) for line in code.splitlines())
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "open\n"
    before = path.read_bytes()
    with pytest.raises(ResultsError, match="is in use: another sweep is writing to it"), collecting(path, ABOUT):
        pytest.fail("was opened")
    assert len(results.read(path)) == 2
    assert path.read_bytes() == before
    other.kill()
    other.communicate()
    with collecting(path, ABOUT) as kept:
        assert kept.get(Key("fine-tuned")).metric == 0.7
        with pytest.raises(ResultsError, match="is in use"), collecting(path, ABOUT):
            pytest.fail("was opened")


def test_a_full_disk_is_told_and_leaves_whole_lines(tmp_path):
    path = tmp_path / "r.jsonl"
    code = """
import resource, signal, sys
from ken.results import About, Key, Record, collecting
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.RLIM_INFINITY))
with collecting(sys.argv[1], About(fine_tuned="a", pretrained="b")) as kept:
    for number in range(100):
        kept.add(Record(Key("pruned", "ken", "", number + 1), 1, 2, 0.5))
"""
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert "File too large" in done.stderr
    table = results.read(path)
    assert 1 < len(table) < 99
    assert table["k"].tolist() == list(range(1, len(table) + 1))
    assert path.read_bytes().endswith(b"}\n")


def test_a_folder_that_is_not_there_is_an_error_of_the_disk(tmp_path):
    with pytest.raises(FileNotFoundError), collecting(tmp_path / "none" / "r", ABOUT):
        pytest.fail("was opened")
    with pytest.raises(FileNotFoundError):
        results.read(tmp_path / "none")
