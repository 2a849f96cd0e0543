import contextlib
import itertools
import os
import sys
from pathlib import Path

import pytest

import ken.storage.atomic_files
from ken.storage.atomic_files import replacing, replacing_folder, write_text
from ken.storage.file_kinds import kind_of


@pytest.fixture
def umask():
    """Set the umask; the old one comes back."""
    old = os.umask(0o022)
    yield os.umask
    os.umask(old)


def mode(path):
    return path.stat().st_mode & 0o7777


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a.bin"]


def test_who_has_opened_the_old_file_goes_on_reading_it(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with path.open("rb") as opened:
        with replacing(str(path)) as file:
            file.write(b"new")
        assert opened.read() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.bin"

    def fail():
        with replacing(path) as file:
            file.write(b"half of it")
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == []
    path.write_bytes(b"old")
    path.chmod(0o640)
    with pytest.raises(error):
        fail()
    assert names(tmp_path) == ["a.bin"]
    assert (path.read_bytes(), mode(path)) == (b"old", 0o640)


def test_a_disk_that_refuses_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), replacing(path) as file:
        file.write(b"new")
    with pytest.raises(OSError, match="No space left"), replacing_folder(tmp_path / "folder") as folder:
        (folder / "a").write_text("a")
    assert names(tmp_path) == ["a.bin"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
def test_a_new_file_has_the_rights_of_any_new_file_and_a_replaced_one_keeps_its_own(tmp_path, umask, mask):
    umask(mask)
    path, like = tmp_path / "a.bin", tmp_path / "like"
    like.touch()
    with replacing(path):
        pass
    assert mode(path) == mode(like) == 0o666 & ~mask
    path.chmod(0o604)
    with replacing(path):
        pass
    assert mode(path) == 0o604
    assert umask(mask) == mask


def test_a_link_stays_and_the_file_that_it_names_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "target", tmp_path / "link"
    link.symlink_to(Path("there") / "target")
    for content in (b"first", b"second"):  # at first the link leads nowhere
        with replacing(link) as file:
            file.write(content)
        assert link.is_symlink()
        assert link.readlink() == Path("there") / "target"
        assert target.read_bytes() == content
    assert (names(tmp_path), names(tmp_path / "there")) == (["link", "there"], ["target"])


def test_without_a_folder_or_over_a_folder_nothing_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path, error, message in (
        (tmp_path / "none" / "a", FileNotFoundError, "cannot be written: there is no folder .*none"),
        (tmp_path / "file" / "a", FileNotFoundError, "cannot be written: there is no folder .*file"),
        (tmp_path / "folder", IsADirectoryError, "folder cannot be written: it is a folder"),
    ):
        with pytest.raises(error, match=message), replacing(path):
            pytest.fail("the block must not begin")
    assert names(tmp_path) == ["file", "folder"]


@pytest.mark.parametrize("name", ["a" * 250, "é" * 120, "語" * 80, ".hidden", "-", "with space"])
def test_names_of_any_kind_will_do(tmp_path, name):
    with replacing(tmp_path / name) as file:
        file.write(b"whole")
    assert (tmp_path / name).read_bytes() == b"whole"
    assert len(names(tmp_path)) == 1
    with replacing_folder(tmp_path / "b" / ".." / f"{name[1:]}x") as folder:
        (folder / name).touch()
    assert names(tmp_path / f"{name[1:]}x") == [name]


def test_a_relative_path_is_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with replacing("a") as file:
        file.write(b"whole")
    with replacing_folder("b"):
        pass
    assert names(tmp_path) == ["a", "b"]


def test_a_folder_gets_its_name_when_it_is_full(tmp_path):
    path = tmp_path / "model"
    with replacing_folder(path) as folder:
        (folder / "config.json").write_text("{}")
        (folder / "weights").write_bytes(b"whole")
        assert not path.exists()
        assert folder.parent == tmp_path
    assert names(tmp_path) == ["model"]
    assert names(path) == ["config.json", "weights"]
    assert (path / "weights").read_bytes() == b"whole"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("exists", [False, True])
def test_an_error_leaves_no_folder(tmp_path, error, exists):
    path = tmp_path / "model"
    if exists:
        path.mkdir()

    def fail():
        with replacing_folder(path) as folder:
            (folder / "config.json").write_text("{}")
            (folder / "part").mkdir()
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == (["model"] if exists else [])
    assert not exists or names(path) == []


def test_an_empty_folder_is_filled_and_keeps_its_rights(tmp_path, umask):
    umask(0o027)
    path, link = tmp_path / "model", tmp_path / "link"
    with replacing_folder(path):
        pass
    assert mode(path) == 0o750
    path.chmod(0o705)
    link.symlink_to(path)
    with replacing_folder(link) as folder:
        (folder / "a").touch()
    assert mode(path) == 0o705
    assert link.is_symlink()
    assert names(path) == ["a"]


def test_a_folder_with_something_in_it_is_refused_before_the_block(tmp_path):
    full, file = tmp_path / "full", tmp_path / "file"
    full.mkdir()
    (full / ".hidden").touch()
    file.touch()
    for path in (full, file):
        with pytest.raises(FileExistsError, match="is there already, and not an empty folder"), replacing_folder(path):
            pytest.fail("the block must not begin")
    with (
        pytest.raises(FileNotFoundError, match="cannot be made: there is no folder"),
        replacing_folder(tmp_path / "none" / "model"),
    ):
        pytest.fail("the block must not begin")
    assert names(tmp_path) == ["file", "full"]


def test_a_folder_that_somebody_fills_meanwhile_is_left_alone(tmp_path):
    path = tmp_path / "model"

    def meet():
        with replacing_folder(path) as folder:
            (folder / "ours").touch()
            path.mkdir()
            (path / "theirs").touch()

    with pytest.raises(OSError, match="not empty"):
        meet()
    assert (names(tmp_path), names(path)) == (["model"], ["theirs"])


def test_text_is_written_as_it_is(tmp_path):
    path = tmp_path / "a.txt"
    text = "σ\r\n\n語\t\0"
    assert write_text(path, text) == path
    assert path.read_bytes() == text.encode("utf-8")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_bytes() == text.encode("utf-8")
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("metadata", ["5", "true", "null", '"text"', "[1]", "{}", '{"format": 5}'])
def test_whatever_a_header_has_for_metadata_it_is_told_in_words_what_the_file_holds(tmp_path, metadata):
    header = f'{{"__metadata__": {metadata}}}'.encode()
    (tmp_path / "file").write_bytes(len(header).to_bytes(8, "little") + header)
    assert kind_of(tmp_path / "file") == "weights"


def interrupted_at(number, act):
    """Do it with Ctrl-C at one instruction of the writing; whether it came to that one."""
    seen = 0

    def trace(frame, event, _):
        nonlocal seen
        if frame.f_code.co_filename not in WRITING:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            seen += 1
            if seen == number:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return seen >= number


# A file opened a moment before Ctrl-C is closed by Python itself, which says so.
INTERRUPTED = pytest.mark.filterwarnings(
    "ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
WRITING = {ken.storage.atomic_files.__file__, contextlib.__file__}


@INTERRUPTED
def test_ctrl_c_at_any_instruction_leaves_the_old_or_the_new_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.bin"
    outcomes = []
    for number in itertools.count(1):
        path.write_bytes(b"old")

        def act():
            with replacing(path) as file:
                file.write(b"new")

        if not interrupted_at(number, act):
            break
        assert names(tmp_path) == ["a.bin"], number
        outcomes.append(path.read_bytes())
    assert len(outcomes) > 50
    assert sorted(set(outcomes)) == [b"new", b"old"]
    assert outcomes == sorted(outcomes, reverse=True)


@INTERRUPTED
def test_ctrl_c_at_any_instruction_leaves_a_whole_folder_or_none(tmp_path):
    outcomes = []
    for number in itertools.count(1):

        def act():
            with replacing_folder(tmp_path / "model") as folder:
                (folder / "a.txt").write_text("a")

        if not interrupted_at(number, act):
            break
        assert names(tmp_path) in ([], ["model"]), number
        outcomes.append(names(tmp_path) == ["model"])
        if outcomes[-1]:
            assert (tmp_path / "model" / "a.txt").read_text() == "a"
            (tmp_path / "model" / "a.txt").unlink()
            (tmp_path / "model").rmdir()
    assert len(outcomes) > 50
    assert outcomes == sorted(outcomes)
