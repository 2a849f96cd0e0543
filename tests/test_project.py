"""The frame: dependencies in step, layers as drawn, nothing of a machine in the tree."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(line.lower().split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
EXTRAS = PROJECT["optional-dependencies"]
# What an environment has to have. The extra `benchmark` is pinned too, but only `make benchmark` installs it.
REQUIREMENTS = [Requirement(text) for text in PROJECT["dependencies"] + EXTRAS["demo"] + EXTRAS["test"]]


def test_every_dependency_is_pinned_within_its_bounds():
    assert EXTRAS.keys() == {"app", "demo", "docs", "test", "benchmark", "isj"}
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


# Each module of ken may import these modules of ken, and what they import; `errors` and `_version` are for all.
LAYERS = {
    "errors": set(),
    "_version": set(),
    "files": set(),
    "terminal": set(),
    "telling": {"terminal"},
    "relation": set(),
    "mixups": {"checkpoint", "relation"},
    "parallel": set(),
    "bandwidths": set(),
    "density": {"bandwidths"},
    "claims": {"kernels", "sums"},
    "ranking": {"kernels", "sums"},
    "sums": set(),
    "kernels": {"sums"},
    "expand": set(),
    "ulps": {"expand"},
    "tensors": set(),
    "entries": {"tensors"},
    "frames": set(),
    "spools": set(),
    "masks": {"frames"},
    "planes": {"entries", "frames", "spools", "tensors"},
    "scalars": set(),
    "rows": {"scalars"},
    "patterns": {"rows"},
    "rules": {"bandwidths", "claims", "density", "ranking", "scalars", "telling"},
    "container": {"entries", "tensors"},
    "links": set(),
    "mistaken": set(),
    "candidates": {"mistaken"},
    "belongings": {"links", "mistaken"},
    "folders": {"belongings", "candidates", "container", "entries", "links", "mistaken"},
    "hub": set(),
    "quantised": set(),
    "unmerged": set(),
    "wrappers": set(),
    "vocabularies": set(),
    "classes": {"vocabularies"},
    "storages": {"tensors"},
    "ties": {"classes", "entries", "folders", "places", "storages", "tensors"},
    "prefixes": set(),
    "checkpoint": {
        *("entries", "folders", "hub", "quantised", "storages", "ties", "unmerged", "vocabularies", "wrappers"),
    },
    "layouts": {"checkpoint", "classes", "vocabularies"},
    "growth": {"checkpoint", "layouts", "quantised", "rows", "unmerged", "vocabularies"},
    "lacking": {"checkpoint", "layouts"},
    "pairing": {"checkpoint", "growth", "lacking", "layouts", "prefixes", "rows", "unmerged", "wrappers"},
    "taking": {"entries", "parallel", "tensors", "ulps"},
    "retained": {"entries", "rows", "taking", "tensors", "ulps"},
    "subnetwork": {"rows", "checkpoint", "relation", "retained", "parallel", "tensors", "terminal"},
    "record": {"tensors"},
    "stored": {"container", "frames", "masks", "planes", "record", "retained", "tensors", "ulps"},
    "filing": {"belongings", "container", "record", "stored", "tensors"},
    "recording": {"container", "record", "retained", "subnetwork", "tensors"},
    "writing": {
        "mixups",
        *("container", "entries", "files", "filing", "frames", "masks", "planes", "record", "recording", "retained"),
        *("spools", "stored", "subnetwork", "taking", "tensors", "ulps"),
    },
    "format": {
        *("belongings", "checkpoint", "container", "filekinds", "filing", "outputs", "record", "recording", "relation"),
        *("retained", "stored"),
        *("subnetwork", "tensors", "writing"),
    },
    "remarks": {"belongings", "mixups", "pairing", "rows", "telling"},
    "collecting": {"entries", "retained", "taking", "tensors"},
    "pruning": {
        *("bandwidths", "checkpoint", "collecting", "entries", "filekinds", "format", "layouts", "outputs", "pairing"),
        *("belongings", "filing", "mixups", "pairs", "patterns", "relation", "retained", "rows", "rules", "scalars"),
        *("remarks", "subnetwork", "taking", "telling", "tensors", "writing"),
    },
    "standins": {"checkpoint", "entries", "layouts", "pairing", "subnetwork", "tensors"},
    "fitting": {"vocabularies"},
    "copying": {"storages", "tensors", "wrappers"},
    "injection": {
        *("copying", "fitting"),
        *("checkpoint", "layouts", "pairing", "parallel", "retained", "standins", "subnetwork", "tensors", "wrappers"),
    },
    "filekinds": {"record"},
    "outputs": {"filekinds", "files", "hub", "pairs", "stored", "subnetwork"},
    "changes": {"copying", "parallel", "storages", "tensors", "ulps"},
    "changing": {"changes", "parallel", "retained", "storages", "subnetwork", "tensors", "ulps"},
    "live": {
        *("changes", "changing", "checkpoint", "copying", "injection", "pairing", "retained", "standins"),
        *("subnetwork", "tensors"),
    },
    "exporting": {
        *("belongings", "checkpoint", "container", "filekinds", "files", "filing", "folders", "injection", "outputs"),
        *("standins", "subnetwork", "tensors", "ties"),
    },
    "verification": {"checkpoint", "filing", "format", "injection", "standins", "stored", "subnetwork"},
    "planning": {
        *("checkpoint", "container", "folders", "injection", "patterns", "quantised", "record", "rows", "tensors"),
        "unmerged",
    },
    "pairs": {"checkpoint"},
    "places": set(),
    "heads": {"places"},
    "neighbours": set(),
    "concentration": set(),
    "tallies": set(),
    "belonging": {"pairing", "pairs", "retained", "subnetwork", "tensors"},
    "measuring": {"belonging", "density", "pairs", "parallel", "retained", "subnetwork", "tallies"},
    "summaries": {"concentration", "heads", "measuring", "neighbours", "places"},
    "draws": {"rules", "subnetwork"},
    "comparing": {
        "belonging",
        "draws",
        "telling",
        "neighbours",
        "pairing",
        "pairs",
        "parallel",
        "places",
        "retained",
        "subnetwork",
    },
    "retention": {"comparing", "heads", "measuring", "pairs", "places", "subnetwork", "summaries"},
    "results": set(),
    "trials": {
        *("filekinds", "injection", "live", "outputs", "pairing", "pairs", "pruning", "results", "retained", "rows"),
        *("patterns", "rules", "scalars", "subnetwork"),
    },
    "sweeping": {"bandwidths", "pairs", "results", "rows", "rules", "trials"},
    "smallest": {"bandwidths", "pairs", "results", "rules", "trials"},
    "evaluation": set(),
    "examples": set(),
    "splits": {"examples", "scalars"},
    "trainer": set(),
    "encoding": {"telling"},
    "training": {"encoding", "evaluation", "examples", "scalars", "splits", "trainer"},
    "docstring_task": set(),
    "demo": {"evaluation", "training", "docstring_task", "scalars", "trainer"},
    "cards": {"explanation"},  # for its type alone
    "explanation": {"cards", "density", "rules"},
    "explaining": {
        *("bandwidths", "belonging", "claims", "density", "explanation", "kernels", "pairing", "retained"),
        *("retention", "rules"),
        *("scalars", "subnetwork"),
    },
    "flipping": {"bandwidths", "explaining", "explanation", "rules"},
    "describing": {"format", "record", "relation", "stored", "subnetwork", "tensors", "terminal"},
    "arguments": set(),
    "sweep_summary": set(),
    "report_command": {"arguments", "format", "pairs"},
    "sweep_command": {
        *("arguments", "copying", "filekinds", "files", "hub", "injection", "outputs", "pairs", "rules", "smallest"),
        *("sweep_summary", "sweeping", "tensors", "training"),
    },
    "cli": {
        *("arguments", "demo", "describing", "exporting", "filekinds", "files", "format", "outputs", "planning"),
        *("pruning", "report_command", "sweep_command", "sweep_summary", "sweeping", "telling", "terminal"),
        "verification",
    },
    "__init__": None,
}
# Methods of Subnetwork that hand over to the modules which do the work.
VERBS = {"subnetwork": {"format", "live"}}
COMPILED = {"sums", "kernels", "claims", "ranking", "ulps", "masks", "planes", "expand", "tallies"}
HEAVY = {
    *("torch", "transformers", "numba", "pandas", "bokeh", "ipywidgets", "sklearn", "tokenizers", "accelerate"),
    *("safetensors", "pydantic", "zstandard", "xxhash"),
}


@pytest.mark.parametrize("path", sorted((ROOT / "ken").glob("*.py")), ids=lambda path: path.stem)
def test_modules_of_ken_import_only_from_the_layers_below(path):
    allowed = LAYERS[path.stem]
    for module, at_import in imports(path):
        top, _, rest = module.partition(".")
        assert top != "bokeh", module
        assert top != "ipywidgets", module
        if path.stem == "cli":  # the command line ties both packages together
            continue
        assert top != "kenviz" or path.stem == "report_command", module  # a part of the command line
        early = at_import and top in {"torch", "transformers", "pandas", "bokeh", "ipywidgets"}
        assert not early, f"{module} is imported too early"
        assert not (at_import and top in {"numba", "llvmlite"} and path.stem not in COMPILED), module
        if top == "ken" and allowed is not None:
            verbs = set() if at_import else VERBS.get(path.stem, set())
            assert rest.split(".")[0] in allowed | verbs | {"errors", "_version"}, module


@pytest.mark.parametrize("path", sorted((ROOT / "kenviz").rglob("*.py")), ids=lambda path: path.stem)
def test_figures_know_no_widget_and_kenviz_no_module_of_kens_core(path):
    core = {"pruning", "injection", "checkpoint", "subnetwork", "kernels", "rows"}
    for module, _ in imports(path):
        top, _, rest = module.partition(".")
        assert not (top == "ken" and rest.split(".")[0] in core), module
        if path.parent.name == "figures":
            assert top not in {"ipywidgets", "anywidget", "traitlets"}, module
            assert not module.startswith(("kenviz.views", "kenviz.pane")), module


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
