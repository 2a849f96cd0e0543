"""Habits of the code that no linter knows: names that say something, arguments by name, objects that are whole."""

import ast
import inspect
import re
import sys
from functools import cache
from pathlib import Path

import pytest
from test_project import COMPILED, MODULES, imports

import ken
import kenviz

# Each hides a noun. Classes that others know keep their method of that name.
EMPTY_NAMES = {"of", "found", "told", "there", "ours"}
KNOWN = {("ken.evaluation.classification", "of"), ("ken.subnetwork.retained_tensor", "of")}
OUR = sorted(MODULES)


@cache
def tree(name):
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


@cache
def definitions():
    """Names of our functions and classes, and of those among them that are compiled."""
    named, compiled = set(), set()
    for module in OUR:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                named.add(node.name)
                if module.rpartition(".")[2] in COMPILED:
                    compiled.add(node.name)
    return named, compiled


def bound(node):
    """The names that a node binds."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name


@pytest.mark.parametrize("module", OUR)
def test_names_say_what_they_hold(module):
    empty = [name for node in ast.walk(tree(module)) for name in bound(node) if name in EMPTY_NAMES]
    assert [name for name in empty if (module, name) not in KNOWN] == []


@pytest.mark.parametrize("module", OUR)
def test_arguments_past_the_third_go_by_name(module):
    """But those of compiled loops, which are called a million times."""
    named, compiled = definitions()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call) and not any(isinstance(argument, ast.Starred) for argument in node.args):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            assert name not in named - compiled or len(node.args) <= 3, f"{name}, line {node.lineno}"


@pytest.mark.parametrize("module", OUR)
def test_objects_are_whole_and_not_reached_into(module):
    """No look at the variables of a function, none at what an object may lack as yet, none behind a frozen class."""
    own = {
        id(inner)
        for function in ast.walk(tree(module))
        if isinstance(function, ast.FunctionDef) and function.name in ("__init__", "__post_init__")  # where it is made
        for inner in ast.walk(function)
    }
    for node in ast.walk(tree(module)):
        text = ast.unparse(node) if isinstance(node, ast.Call | ast.Assign) else ""
        assert not re.match(r"(locals|vars)\(", text), text
        assert not text.startswith("hasattr(self,"), text
        assert not re.match(r"\w+(\.\w+)*\.__dict__(\[.*?\] = |\.(update|pop|setdefault)\()", text), text
        assert id(node) in own or not text.startswith("object.__setattr__("), text


@pytest.mark.parametrize("module", [name for name in OUR if name.startswith("kenviz")])
def test_kenviz_knows_the_doors_of_ken_alone(module):
    """What a room of ken lets out says its `__init__`; what is behind may be moved without a look at the views."""
    for name, _ in imports(MODULES[module]):
        assert not re.match(r"ken\.\w+\.", name), name


def public_functions():
    """Functions and methods that users call, by name: what lies in a public module, or in the room of that name."""
    for package in (ken, kenviz):
        for name in package.__all__:
            thing = getattr(package, name)
            members = vars(thing).items() if inspect.ismodule(thing) else [(name, thing)]
            room = thing.__name__ if inspect.ismodule(thing) else package.__name__
            for member, value in members:
                home = f"{getattr(value, '__module__', '')}."
                if member.startswith("_") or not home.startswith(f"{room}."):
                    continue
                if inspect.isclass(value):
                    for method, function in vars(value).items():
                        function = getattr(function, "__func__", function)
                        if not method.startswith("_") and inspect.isfunction(function):
                            yield f"{member}.{method}", inspect.unwrap(function)
                elif inspect.isfunction(value):
                    yield member, inspect.unwrap(value)


FUNCTIONS = dict(public_functions())


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_public_functions_tell_their_arguments_and_what_they_return(name):
    """That the arguments told are those that there are, ruff checks."""
    function = FUNCTIONS[name]
    text = inspect.getdoc(function) or ""
    signature = inspect.signature(function)
    assert not (signature.parameters.keys() - {"self", "cls"}) or "Args:\n" in text
    if len(text.splitlines()) > 1 and signature.return_annotation not in (None, "None", signature.empty):
        assert re.search(r"(Returns|Yields|Example):\n|>>>|context manager", text)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_public_functions_have_an_example(name):
    """Their own, or that of their class calls them. Where it would take minutes it is shown and not run."""
    function = FUNCTIONS[name]
    owner, _, method = name.rpartition(".")
    class_text = inspect.getdoc(getattr(sys.modules[function.__module__], owner)) if owner else ""
    text = inspect.getdoc(function) or ""
    shown = rf"\.{re.escape(method)}\(" if owner else "(?!)"
    assert re.search(r">>> |```python", text) or re.search(shown, (class_text or "").partition("Example:\n")[2])


def test_no_two_test_files_have_one_name():
    """pytest imports them by name, and refuses the second."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert len(names) == len(set(names))
