"""Two real text-classification tasks that need no download: which library wrote this docstring, and for what?

The texts are the first paragraphs of the docstrings of six installed libraries, read from their source with `ast` and
never imported. Both tasks have the same texts, on the same sides of the split, and six labels each:

- ``library``: the library that wrote the text, its name blanked out. The classes are of equal size.
- ``kind``: what the text describes, one of `KINDS`. The classes are as the libraries have them, over a quarter of the
  texts in the largest. A text that describes several things has the kind of the first one.

Test code, copies of other projects and files that call themselves generated are left out: the first is not written for
readers, the others not by the library. So are texts that begin as a list of arguments, a section, a directive or an
example, and texts of fewer than four words besides the names blanked out. Files are taken in an order that depends on
nothing but their path inside the library, until there are enough texts. Two texts that differ only in case, punctuation
or digits count as one; one that two libraries wrote is dropped. Texts made from one template ("Constructs a …
tokenizer") stay, on both sides of the split: that is how a library writes.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import re
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from ken.errors import DemoError

LIBRARIES: Mapping[str, str] = {
    "torch": "torch",
    "scipy": "scipy",
    "pandas": "pandas",
    "sklearn": "scikit-learn",
    "bokeh": "bokeh",
    "transformers": "transformers",
}
"""Import name of each class, and the distribution that installs it. The order gives the label."""

KINDS = ("class", "function", "method", "property", "private function", "private method")
"""What a docstring may describe. Private is what begins with an underscore, Python's own ``__names__`` apart."""

TASKS = ("library", "kind")

TASK_VERSION = 1
"""Raised whenever the same libraries would give other texts."""

TRAIN_SIZE, HELD_OUT_SIZE = 4000, 2000

_BLANK = "___"
_NAMES = re.compile(
    r"py[ -]?torch|torch|sci-?py|pandas|\bpd(?=\.)|sci-?kit[ _-]?learn|sci-?kits?|sk-?learn|bokeh(?:js)?"
    r"|transformers|hugging[ _-]?face|\bhf\b",
    re.IGNORECASE,
)
_FOREIGN_FOLDERS = re.compile(
    r"_?(tests?|testing)|conftest|.*vendor.*|_?externals?|third_party|generated|_uarray|array_api_(compat|extra)"
)
_GENERATED = re.compile(rb"auto(matically)?[ -]?generated|@generated|do not edit", re.IGNORECASE)
_NO_PROSE = re.compile(
    r">>>|\.\.|[:@{`|=+*\\<#-]|\w+ \(`"
    r"|(args|arguments|parameters|params|returns?|yields|raises|attributes|examples?|notes?|see also)"
    r"\s*(:|-{3,}|={3,})",
    re.IGNORECASE,
)
_BLANK_LINE = re.compile(r"\n\s*\n")
_NO_LETTER = re.compile(r"[\W\d_]+")
_FEWEST_WORDS = 4


@dataclass(frozen=True, repr=False)
class Task:
    """Texts and labels of a classification task, split into training and held-out texts.

    ``train_labels[i]`` and ``held_out_labels[i]`` index `label_names`. The libraries are balanced to within one text;
    no text, whatever its case, punctuation and digits, is there twice. `versions` are those of the libraries.
    """

    train_texts: tuple[str, ...]
    train_labels: tuple[int, ...]
    held_out_texts: tuple[str, ...]
    held_out_labels: tuple[int, ...]
    label_names: tuple[str, ...]
    versions: Mapping[str, str]

    def __repr__(self) -> str:
        sizes = f"{len(self.train_texts)} training texts, {len(self.held_out_texts)} held out"
        return f"Task({sizes}, classes: {', '.join(self.label_names)})"


class Paragraph(NamedTuple):
    """The first paragraph of a docstring, cleaned, and which of `KINDS` it describes."""

    text: str
    kind: str


def docstring_task(task: str = "library", *, progress: bool = True) -> Task:
    """One of `TASKS`, read from the libraries installed here: 4,000 training texts and 2,000 held out.

    The same versions of the libraries give the same task, wherever they are installed.

    Raises:
        DemoError: no such task, or a library is missing, or has too few docstrings.
    """
    roots = {name: library_root(name) for name in LIBRARIES}
    return task_from(roots, library_versions(), task=task, progress=progress)


def check_task(task: str) -> None:
    """Raises `DemoError` unless it is one of `TASKS`."""
    if task not in TASKS:
        raise DemoError(f"task must be one of {', '.join(TASKS)}, got {task!r}")


def library_versions() -> dict[str, str]:
    """Installed version of each library, by import name. Raises `DemoError` for a missing one."""
    return {name: installed_version(distribution) for name, distribution in LIBRARIES.items()}


def installed_version(distribution: str) -> str:
    """Version of an installed distribution. Raises `DemoError`, with the line to install it, if it is missing."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise _missing(distribution) from error


def library_root(name: str, distribution: str | None = None) -> Path:
    """Folder of an installed top-level package, found without importing it.

    Raises `DemoError` if it is missing, naming the distribution that installs it.

    >>> library_root("bokeh").name
    'bokeh'
    """
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module put into sys.modules by hand has no spec
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise _missing(distribution or LIBRARIES.get(name, name))
    return Path(next(iter(spec.submodule_search_locations)))


def _missing(distribution: str) -> DemoError:
    return DemoError(f"the demonstration needs the package {distribution}: pip install 'kenviz[demo]'")


def task_from(
    roots: Mapping[str, Path],
    versions: Mapping[str, str],
    *,
    task: str = "library",
    train: int = TRAIN_SIZE,
    held_out: int = HELD_OUT_SIZE,
    progress: bool = False,
) -> Task:
    """A task over any package folders, with `train` and `held_out` texts in all, equally many of each folder.

    Raises:
        DemoError: no such task, or a folder has too few texts of its own.
    """
    from tqdm.auto import tqdm

    check_task(task)
    names = tuple(roots)
    classes = len(names)
    # the classes with one held-out text more are those with one training text less, where the sizes allow it
    held_out_sizes = [held_out // classes + (i < held_out % classes) for i in range(classes)]
    train_sizes = [train // classes + (classes - 1 - i < train % classes) for i in range(classes)]
    # a third more than needed, for the texts that another library wrote as well
    enough = -(-(train + held_out) * 4 // (classes * 3))

    by_library: list[dict[str, Paragraph]] = []  # its paragraphs by what makes them the same
    with tqdm(total=enough * classes, desc="reading docstrings", unit="text", disable=not progress) as bar:
        for label, name in enumerate(names):
            texts: dict[str, Paragraph] = {}
            for paragraph in paragraphs(roots[name]):
                if texts.setdefault(normalised(paragraph.text), paragraph) is paragraph:
                    bar.update()
                if len(texts) == enough:
                    break
            by_library.append(texts)
            bar.update(enough * (label + 1) - bar.n)

    train_pairs: list[tuple[str, int]] = []
    held_out_pairs: list[tuple[str, int]] = []
    for label, name in enumerate(names):
        others = {key for i, texts in enumerate(by_library) if i != label for key in texts}
        own = [paragraph for key, paragraph in by_library[label].items() if key not in others]
        wanted = train_sizes[label] + held_out_sizes[label]
        if len(own) < wanted:
            version = versions.get(name, "of unknown version")
            raise DemoError(f"the task needs {wanted} docstrings of {name}, but {name} {version} has {len(own)}")
        own.sort(key=lambda paragraph: _shuffled(paragraph.text))
        labelled = [(text, label if task == "library" else KINDS.index(kind)) for text, kind in own]
        held_out_pairs += labelled[: held_out_sizes[label]]
        train_pairs += labelled[held_out_sizes[label] : wanted]
    label_names = names if task == "library" else KINDS
    return Task(*_columns(train_pairs), *_columns(held_out_pairs), label_names=label_names, versions=dict(versions))


def paragraphs(root: Path) -> Iterator[Paragraph]:
    """First paragraph of every docstring of a package that belongs into the task, in a fixed order."""
    for path in source_files(root):
        source = path.read_bytes()
        if not _GENERATED.search(source[:1000]):
            yield from first_paragraphs(source)


def source_files(root: Path) -> list[Path]:
    """The package's own Python files, shuffled by a hash of their path inside it."""
    files = []
    for path in root.rglob("*.py"):
        inside = path.relative_to(root)
        if not any(_FOREIGN_FOLDERS.fullmatch(part) for part in (*inside.parts[:-1], inside.stem)):
            files.append((_shuffled(inside.as_posix()), path))
    return [path for _, path in sorted(files)]


def first_paragraphs(source: bytes) -> list[Paragraph]:
    """Cleaned first paragraph of each function's and class's docstring in a file that may be anything.

    >>> first_paragraphs(b"def f(): 'Return this  as a PyTorch tensor.'")
    [Paragraph(text='Return this as a ___ tensor.', kind='function')]
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as an invalid escape: theirs to mend
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):  # written for another Python, or no text at all
        return []
    described, in_classes = [], set()
    for node in _statements(tree):  # a class comes before what is in it
        if isinstance(node, ast.ClassDef):
            in_classes.update(node.body)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            docstring = ast.get_docstring(node)
            text = clean(docstring) if docstring else ""
            if text:
                described.append(Paragraph(text, _kind(node, node in in_classes)))
    return described


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Every statement, breadth first, as `ast.walk` has them; it looks into every expression, where none can be."""
    todo = deque[ast.AST](tree.body)
    while todo:
        node = todo.popleft()
        yield node
        for block in ("body", "handlers", "orelse", "finalbody", "cases"):
            todo.extend(getattr(node, block, ()))


def _kind(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, in_class: bool) -> str:
    """Which of `KINDS` it is. Decorators such as ``cached_property`` and ``name.setter`` make a property, too."""
    if isinstance(node, ast.ClassDef):
        return "class"
    decorators = {ast.unparse(decorator).split("(")[0].rpartition(".")[2] for decorator in node.decorator_list}
    if in_class and any("property" in name or name in {"setter", "deleter"} for name in decorators):
        return "property"
    private = node.name.startswith("_") and not (node.name.startswith("__") and node.name.endswith("__"))
    return ("private " if private else "") + ("method" if in_class else "function")


def clean(docstring: str) -> str:
    """First paragraph on one line, library names blanked; empty if it is no prose.

    >>> clean("Fit a scikit-learn model\\n    to data.\\n\\nParameters\\n----------")
    'Fit a ___ model to data.'
    """
    paragraph = " ".join(_BLANK_LINE.split(docstring.strip(), maxsplit=1)[0].split())
    text = _NAMES.sub(_BLANK, paragraph)
    if _NO_PROSE.match(paragraph) or len(normalised(text).split()) < _FEWEST_WORDS:
        return ""
    return text


def normalised(text: str) -> str:
    """What makes two texts the same: their letters, without case, punctuation and digits.

    >>> normalised("Returns the 3-D array.") == normalised("returns the 2-d Array")
    True
    """
    return _NO_LETTER.sub(" ", text.casefold()).strip()


def _columns(pairs: Sequence[tuple[str, int]]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Texts and labels, the classes mixed."""
    mixed = sorted(pairs, key=lambda pair: _shuffled(pair[0]))
    return tuple(text for text, _ in mixed), tuple(label for _, label in mixed)


def _shuffled(text: str) -> bytes:
    """A sort key that is as good as random, and the same on every machine."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
