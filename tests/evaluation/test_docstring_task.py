"""The task that tells libraries by their docstrings: on small package trees, then on the real libraries."""

import ast
import hashlib
import os
import subprocess
import sys
import types
import warnings
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ken.errors import DemoError
from ken.evaluation import docstring_task as task_module
from ken.evaluation.docstring_task import (
    LIBRARIES,
    Task,
    clean,
    docstring_task,
    first_paragraphs,
    installed_version,
    library_root,
    normalised,
    paragraphs,
    source_files,
    task_from,
)

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu"]


def spelled(number: int) -> str:
    """A number in words, so that two of them differ in letters."""
    return " ".join(WORDS[int(digit)] for digit in f"{number:04d}")


def write_package(root: Path, name: str, texts: list[str], files: int = 5) -> Path:
    """A package whose functions have these docstrings, spread over some files."""
    package = root / name
    for i in range(files):
        path = package / f"part{i % 2}" / f"module{i}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"def f{j}():\n    {text!r}\n" for j, text in enumerate(texts[i::files])))
    return package


def two_packages(root: Path, count: int = 40, **extra: list[str]) -> dict[str, Path]:
    return {
        name: write_package(root, name, [f"The {name} text {spelled(i)}." for i in range(count)] + extra.get(name, []))
        for name in ("left", "right")
    }


def small_task(roots: dict[str, Path], **sizes: int) -> Task:
    return task_from(roots, dict.fromkeys(roots, "1.0"), **{"train": 20, "held_out": 11, **sizes})


# --- one docstring -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("docstring", "text"),
    [
        ("Compute  the\n    mean of it.\n\n    More.", "Compute the mean of it."),
        ("Compute the mean of it.\n   \t \nMore.", "Compute the mean of it."),
        ("Make a PyTorch tensor, for torch.", "Make a ___ tensor, for ___."),
        ("SciPy, sci-py, SCIPY and dense numpy arrays", "___, ___, ___ and dense numpy arrays"),
        ("Wrap all scikit-learn, scikit_learn or sklearn models", "Wrap all ___, ___ or ___ models"),
        ("Return a pd.DataFrame from pandas_like data", "Return a ___.DataFrame from ____like data"),
        ("Tell BokehJS that `bokeh.models` changed", "Tell ___ that `___.models` changed"),
        ("Load any Hugging Face or HuggingFace Transformers models", "Load any ___ or ___ ___ models"),
        ("Ask the HF hub, not the half", "Ask the ___ hub, not the half"),
    ],
)
def test_the_first_paragraph_is_on_one_line_without_library_names(docstring: str, text: str) -> None:
    assert clean(docstring) == text


@pytest.mark.parametrize(
    "docstring",
    [
        "",
        "Too short here.",
        "1 2 3 4 5 6",
        "pandas, torch and scipy arrays",
        ">>> f(1) is one of many things",
        "Parameters\n----------\nx : the value of something",
        "Args:\n    x: the value of something",
        ":param x: the value of something",
        ".. deprecated:: 1.0 use something else instead",
        "pixel_values (`torch.FloatTensor` of shape x): the values of pixels",
    ],
)
def test_what_is_no_prose_is_left_out(docstring: str) -> None:
    assert clean(docstring) == ""


def test_prose_that_begins_with_the_name_of_a_section_stays() -> None:
    assert clean("Returns the mean of it.") == "Returns the mean of it."


@given(st.text())
def test_any_text_can_be_cleaned_once_and_for_all(docstring: str) -> None:
    text = clean(docstring)
    assert text == " ".join(text.split())
    assert not task_module._NAMES.search(text)
    assert normalised(text) == normalised(normalised(text))


@given(st.binary())
def test_any_bytes_can_be_read(source: bytes) -> None:
    assert isinstance(first_paragraphs(source), list)


def test_functions_methods_and_classes_are_read_with_their_kind_but_no_module_docstring() -> None:
    source = b'''
"The module has a docstring too."
class A:
    """The class is described here."""
    def f(self):
        """The method is described here.

        At length."""
    async def g(self):
        """The coroutine is described here."""
        def inner():
            """The inner function is described here."""
def no_docstring(): ...
'''
    assert sorted(first_paragraphs(source)) == [
        (f"The {what} is described here.", kind)
        for what, kind in (
            ("class", "class"),
            ("coroutine", "method"),
            ("inner function", "function"),
            ("method", "method"),
        )
    ]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("def f(self)", "method"),
        ("def _f(self)", "private method"),
        ("async def _f(self)", "private method"),
        ("def __call__(self)", "method"),
        ("def __mangled(self)", "private method"),
        ("class _Inner", "class"),
        ("@property\n    def _f(self)", "property"),
        ("@functools.cached_property\n    def f(self)", "property"),
        ("@f.setter\n    def f(self, value)", "property"),
        ("@lru_cache(maxsize=1)\n    def f(self)", "method"),
        ("@staticmethod\n    def f()", "method"),
    ],
)
def test_the_kind_of_what_is_in_a_class(line: str, kind: str) -> None:
    source = f"class A:\n    {line}:\n        'One text of four words.'\n"
    assert first_paragraphs(source.encode()) == [("One text of four words.", kind)]


@pytest.mark.parametrize(
    ("line", "kind"),
    [("def f()", "function"), ("def _f()", "private function"), ("@property\ndef f()", "function")],
)
def test_the_kind_of_what_is_in_no_class(line: str, kind: str) -> None:
    assert first_paragraphs(f"{line}:\n    'One text of four words.'\n".encode()) == [("One text of four words.", kind)]


def test_sources_with_bad_escapes_or_of_another_python_give_no_warning_and_no_error() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert first_paragraphs(b'def f():\n    "Match one \\d of the digits."') == [
            ("Match one \\d of the digits.", "function")
        ]
        assert first_paragraphs(b"print 'Python 2 was another language'") == []


# --- one package -------------------------------------------------------------------------------------------------


def test_tests_copies_of_other_projects_and_generated_files_are_left_out(tmp_path: Path) -> None:
    own = "def f():\n    'This text is written by the library.'\n"
    other = "def f():\n    'This text is written by somebody else.'\n"
    for name in ("mine.py", "sub/testable.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(own)
    foreign = ["tests/a.py", "sub/testing/a.py", "_vendor/a.py", "externals/b/a.py", "conftest.py", "third_party/a.py"]
    for name in foreign:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(other)
    (tmp_path / "made.py").write_text(f"# This file was automatically generated. Do not edit.\n{other}")
    assert {paragraph.text for paragraph in paragraphs(tmp_path)} == {"This text is written by the library."}


def test_the_order_of_files_does_not_depend_on_where_the_package_is(tmp_path: Path) -> None:
    texts = [f"Text {spelled(i)}." for i in range(12)]
    here, elsewhere = (write_package(tmp_path / where, "package", texts, files=12) for where in ("a", "b/c/tests"))
    orders = [[path.relative_to(root).as_posix() for path in source_files(root)] for root in (here, elsewhere)]
    assert orders[0] == orders[1] != sorted(orders[0])
    assert len(orders[0]) == 12


# --- a small task ------------------------------------------------------------------------------------------------


def test_the_split_is_balanced_disjoint_and_complete(tmp_path: Path) -> None:
    task = small_task(two_packages(tmp_path))
    assert (len(task.train_texts), len(task.held_out_texts)) == (20, 11)
    assert len({*task.train_texts, *task.held_out_texts}) == 31
    assert Counter(task.train_labels) == {0: 10, 1: 10}
    assert sorted(Counter(task.held_out_labels).values()) == [5, 6]
    texts, labels = (*task.train_texts, *task.held_out_texts), (*task.train_labels, *task.held_out_labels)
    for text, label in zip(texts, labels, strict=True):
        assert task.label_names[label] in text
    assert repr(task) == "Task(20 training texts, 11 held out, classes: left, right)"


def test_the_other_task_has_the_same_texts_on_the_same_sides_and_labels_of_its_own(tmp_path: Path) -> None:
    roots = two_packages(tmp_path)
    (roots["left"] / "classes.py").write_text(
        "".join(f"class C{i}:\n    'The left class {spelled(i)}.'\n" for i in range(30))
    )
    sizes = {"train": 60, "held_out": 20}
    library, kind = (task_from(roots, {}, task=task, **sizes) for task in ("library", "kind"))
    assert kind.train_texts == library.train_texts
    assert kind.held_out_texts == library.held_out_texts
    assert kind.label_names == task_module.KINDS
    texts, labels = (*kind.train_texts, *kind.held_out_texts), (*kind.train_labels, *kind.held_out_labels)
    assert [kind.label_names[label] for label in labels] == ["class" if "class" in t else "function" for t in texts]
    assert {*kind.train_labels} == {0, 1}


def test_an_unknown_task_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="task must be one of library, kind, got 'author'"):
        task_from({}, {}, task="author")


def test_a_text_that_two_libraries_wrote_belongs_to_none(tmp_path: Path) -> None:
    shared = [f"A text of both {spelled(i)}" for i in range(4)]
    roots = two_packages(tmp_path, 16, left=shared, right=[f"{text.upper()}, 7!" for text in shared])
    task = small_task(roots, train=22, held_out=10)
    assert not any("both" in text.lower() for text in (*task.train_texts, *task.held_out_texts))


def test_texts_that_differ_only_in_case_punctuation_or_digits_are_one(tmp_path: Path) -> None:
    same = ["The left text number 1.", "the LEFT text -- number 2", "The left text: number!"]
    task = small_task(two_packages(tmp_path, 30, left=same), train=40, held_out=20)
    texts = [normalised(text) for text in (*task.train_texts, *task.held_out_texts)]
    assert len(texts) == len(set(texts))


def test_too_few_texts_are_an_error_that_names_the_library(tmp_path: Path) -> None:
    roots = two_packages(tmp_path, 10)
    with pytest.raises(DemoError, match=r"needs 1[56] docstrings of left, but left 1\.0 has 10"):
        small_task(roots)


def test_progress_counts_to_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task_from(two_packages(tmp_path), {}, train=20, held_out=10, progress=True)
    assert "100%" in capsys.readouterr().err
    task_from(two_packages(tmp_path), {}, train=20, held_out=10, progress=False)
    assert capsys.readouterr().err == ""


# --- what is installed -------------------------------------------------------------------------------------------


def test_a_missing_library_is_an_error_with_the_line_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    line = r"pip install 'kenviz\[demo\]'"
    with pytest.raises(DemoError, match=rf"no-such-thing: {line}"):
        installed_version("no-such-thing")
    with pytest.raises(DemoError, match=rf"no_such_thing: {line}"):
        library_root("no_such_thing")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(DemoError, match=rf"scikit-learn: {line}"):
        library_root("sklearn")
    by_hand = types.ModuleType("sklearn")
    by_hand.__spec__ = None
    monkeypatch.setitem(sys.modules, "sklearn", by_hand)
    with pytest.raises(DemoError, match=rf"scikit-learn: {line}"):
        docstring_task(progress=False)


PRINT_HASH = """
import hashlib, sys
from ken.evaluation.docstring_task import docstring_task
task = docstring_task(progress=False)
parts = (task.train_texts, task.train_labels, task.held_out_texts, task.held_out_labels)
print(hashlib.sha256(repr(parts).encode()).hexdigest())
print(sorted({"torch", "scipy", "pandas", "sklearn", "bokeh", "transformers"} & set(sys.modules)))
"""


def test_the_real_task_keeps_its_promises() -> None:
    task = docstring_task(progress=False)
    every = (*task.train_texts, *task.held_out_texts)
    assert (len(task.train_texts), len(task.held_out_texts)) == (4000, 2000)
    assert task.label_names == tuple(LIBRARIES)
    assert set(task.versions) == set(LIBRARIES)
    for labels in (task.train_labels, task.held_out_labels):
        counts = Counter(labels)
        assert set(counts) == set(range(6))
        assert max(counts.values()) - min(counts.values()) <= 1
    assert len({normalised(text) for text in every}) == 6000
    names = ("torch", "scipy", "pandas", "sklearn", "scikit", "bokeh", "transformers", "huggingface")
    assert [text for text in every if any(name in text.lower() for name in names)] == []
    assert all(text == " ".join(text.split()) and len(text.split()) > 1 for text in every)

    kind = docstring_task("kind", progress=False)
    assert (kind.train_texts, kind.held_out_texts) == (task.train_texts, task.held_out_texts)
    assert (kind.label_names, kind.versions) == (task_module.KINDS, task.versions)
    for labels in (kind.train_labels, kind.held_out_labels):
        counts = Counter(labels)
        assert set(counts) == set(range(6))
        assert min(counts.values()) > 0.02 * len(labels)

    parts = (task.train_texts, task.train_labels, task.held_out_texts, task.held_out_labels)
    expected = hashlib.sha256(repr(parts).encode()).hexdigest()
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(Path(task_module.__file__).parents[2])}
    got = subprocess.run(
        [sys.executable, "-c", PRINT_HASH], env=environment, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    assert got[0] == expected
    assert got[1] == "[]", "the libraries are read, never imported"


def test_the_module_imports_none_of_the_libraries() -> None:
    tree = ast.parse(Path(task_module.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in imported} & set(LIBRARIES)
