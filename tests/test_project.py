"""The frame: dependencies in step, layers as drawn, nothing of a machine in the tree."""

import ast
import graphlib
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import ken

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(line.lower().split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
EXTRAS = PROJECT["optional-dependencies"]
# What an environment has to have. The extra `benchmark` is pinned too, but only `make benchmark` installs it.
REQUIREMENTS = [Requirement(text) for text in PROJECT["dependencies"] + EXTRAS["demo"] + EXTRAS["test"]]


def test_every_dependency_is_pinned_within_its_bounds():
    kept = {"isj", "peft", "bitsandbytes", "compressed-tensors", "gguf", "http", "lmeval", "s3", "dask", "submitit"}
    assert EXTRAS.keys() == {"app", "demo", "docs", "test", "benchmark"} | kept
    for requirement in [*REQUIREMENTS, *map(Requirement, EXTRAS["app"] + EXTRAS["docs"] + EXTRAS["benchmark"])]:
        assert requirement.specifier.contains(PINS[requirement.name.lower()]), requirement.name


def test_the_pins_are_what_is_installed():
    for requirement in REQUIREMENTS:
        name = requirement.name.lower()
        assert version(name).split("+")[0] == PINS[name], name


def test_the_conda_environment_lists_the_same_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, *_, pip = environment["dependencies"]
    assert python == f"python {PROJECT['requires-python']}"
    assert pip["pip"].pop() == "--editable ."
    assert dict(line.split("==") for line in pip["pip"]) == {
        requirement.name.lower(): PINS[requirement.name.lower()] for requirement in REQUIREMENTS
    }


def tracked_text():
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    for name in filter(None, names.split("\0")):
        path = ROOT / name
        if path.suffix not in {".npz", ".png", ".safetensors"} and path.is_file():
            yield name, path.read_text(encoding="utf-8")


def test_no_absolute_path_and_no_registry_host_is_in_the_tree():
    # Spelled so that this file does not find itself.
    wrong = re.compile(
        "|".join([r"(?<![\w.>/])/(?:ro" "ot|ho" r"me|Us" r"ers|wo" r"rk)/\w", "index[-]url", r"files\.py" "thonhosted"])
    )
    for name, text in tracked_text():
        found = wrong.search(text)
        assert found is None, f"{name}: {found[0]}"


def imports(path):
    """Modules that a file imports anywhere, and those it imports when it is imported itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING")
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in late
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, path
            for alias in node.names:
                yield (
                    f"{node.module}.{alias.name}" if node.module in {"ken", "kenviz"} else node.module,
                    id(node) not in late,
                )


# The rooms, from the ground up. What is in a room imports what is in it and in those before it.
ROOMS_OF_KENVIZ = [
    "theme",
    "text",
    "tiles",
    "study",
    "figures",
    "pane",
    "hosts",
    "printing",
    "views",
    "reporting",
    "app",
    "_explore",
    "_show",
]
ROOMS = [
    "errors",
    "density",
    "models.compiling",
    "models.scalars",
    "models.user_cache",
    "models.named_tables",
    "models.tensors",
    "models.checkpoints",
    "models.adapters",
    "models.pairing",
    "rules",
    "subnetwork",
    "storage",
    "injection",
    "api",
    "pruning",
    "explanation",
    "retention",
    "results",
    "evaluation",
    "training",
    "demo",
    "cli",
]
# Modules with compiled loops, which are imported by nobody before they are needed.
COMPILED = {
    "compiling",
    *("fast_density", "mask_codec", "nearest_unclaimed", "prefix_sums", "tally_loop", "top_density", "ulp_avx512"),
    *("ulp_distances", "value_codec"),
}
HEAVY = {
    *("torch", "transformers", "numba", "pandas", "bokeh", "ipywidgets", "sklearn", "tokenizers", "accelerate"),
    *("safetensors", "pydantic", "zstandard", "xxhash"),
}


def modules(package):
    """The modules of a package by name."""
    for path in (ROOT / package).rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        yield name, path


MODULES = dict([*modules("ken"), *modules("kenviz")])


def imported(path):
    """Our own modules that a file imports, wherever in it and whatever for."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            # The version is the package's own: ken/__init__.py imports nothing to say it.
            whole = [f"{node.module}.{alias.name}" for alias in node.names if alias.name != "__version__"]
            yield from (name for name in whole if name in MODULES)
            if node.module in MODULES and not all(name in MODULES for name in whole):
                yield node.module


def room(name):
    """The room of a module: its place among those of its package."""
    package, _, inside = name.partition(".")
    rooms = ROOMS if package == "ken" else ROOMS_OF_KENVIZ
    return next(place for place, known in enumerate(rooms) if inside == known or inside.startswith(f"{known}."))


@pytest.mark.parametrize("name", sorted(MODULES.keys() - {"ken", "kenviz", "ken.models"}))
def test_rooms_import_only_from_those_before(name):
    package = name.partition(".")[0]
    for other in imported(MODULES[name]):
        if other.startswith(f"{package}."):
            assert room(other) <= room(name), other
        elif package == "ken":  # the command line ties both packages together
            assert name.startswith("ken.cli."), other


def test_no_import_leads_in_a_circle():
    """Neither those for types alone, nor those within functions."""
    graph = {name: {*imported(path)} for name, path in MODULES.items()}
    try:
        order = [*graphlib.TopologicalSorter(graph).static_order()]
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
    assert len(order) == len(MODULES)


@pytest.mark.parametrize("name", sorted(name for name in MODULES if name.startswith("ken.")))
def test_modules_of_ken_import_what_is_heavy_when_it_is_used(name):
    path = MODULES[name]
    for module, at_import in imports(path):
        top = module.partition(".")[0]
        assert top not in {"bokeh", "ipywidgets"}, module
        early = at_import and top in {"torch", "transformers", "pandas"}
        assert not early, f"{module} is imported too early"
        assert not (at_import and top in {"numba", "llvmlite"} and path.stem not in COMPILED), module


def test_no_folder_of_tests_is_taken_for_a_package():
    """The folder of tests is in the path of notebooks that the browser tests run."""
    assert not {path.name for path in (ROOT / "tests").iterdir()} & {"ken", "kenviz"}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_file_is_longer_than_350_lines(name):
    assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= 350


@pytest.mark.parametrize("package", ["ken", "kenviz"])
def test_a_package_is_seen_from_its_door(package):
    top = [path for path in (ROOT / package).iterdir() if path.name != "__pycache__"]
    assert len([path for path in top if path.is_dir()]) <= 10
    assert len([path for path in top if path.suffix == ".py"]) <= 7
    for name, path in MODULES.items():
        if path.name == "__init__.py":
            assert len(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "") > 40, name


@pytest.mark.parametrize("path", sorted((ROOT / "kenviz").rglob("*.py")), ids=lambda path: path.stem)
def test_figures_know_no_widget_and_kenviz_no_module_of_kens_core(path):
    core = ("ken.pruning", "ken.injection", "ken.models.checkpoints.checkpoint", "ken.rules.fast_density")
    for module, _ in imports(path):
        assert not module.startswith(core), module
        if path.parent.name == "figures":
            assert module.partition(".")[0] not in {"ipywidgets", "anywidget", "traitlets"}, module
            assert not module.startswith(("kenviz.views", "kenviz.pane.bokeh_pane")), module


def test_importing_ken_loads_nothing_heavy():
    code = f"import sys, ken, ken.cli; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_resolves_and_is_documented():
    import ken
    import kenviz

    for package in (ken, kenviz):
        for name in package.__all__:
            assert getattr(package, name).__doc__, name
        assert set(package.__all__) <= set(dir(package))
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            package.nothing  # noqa: B018


def test_every_public_name_is_there_for_those_who_read_types():
    """Type checkers and the documentation read the imports under TYPE_CHECKING, Python the table below them."""
    text = (ROOT / "ken/__init__.py").read_text(encoding="utf-8")
    imported = set(re.findall(r"^    from ken[\w.]* import (\w+) as \1$", text, re.M))
    assert imported == set(ken._PUBLIC)
