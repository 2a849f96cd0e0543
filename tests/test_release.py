"""What is published: two distributions from one tree, built, installed outside the checkout, and used there."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import venv
import zipfile
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
import yaml
from kenviz_models import small_pair
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from processes import end, heeding
from safetensors.torch import save_file
from test_app import _address, status
from test_project import MODULES, PROJECT, ROOT, imports

import ken

PACKAGES = {"ken-pruning": "ken", "kenviz": "kenviz"}
VIEW_LIBRARIES = {"anywidget", "bokeh", "ipywidgets", "ipython", "matplotlib", "traitlets", "voila"}
#: What runs our code, imported only where it does: by package, what is not required for it.
HOSTS = {"ken": {"IPython"}, "kenviz": {"marimo"}}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the sdist of each distribution, by name and suffix."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, ROOT / "release" / "build.py", out], check=True, capture_output=True)
    assert len([*out.iterdir()]) == 4
    return {name: {path.suffix: path for path in out.glob(f"{name.replace('-', '_')}-*")} for name in PACKAGES}


def tracked(package):
    """What git has of a package: all of it, and nothing that was left lying about."""
    command = ["git", "ls-files", "-z", "--", package]
    return {*subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")} - {""}


def fields(wheel, key):
    """The values of a key of a wheel's metadata."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return re.findall(rf"^{key}: (.*)$", archive.read(name).decode().partition("\n\n")[0], re.M)


def required(wheel, extra=""):
    """What a wheel requires, with an extra or without, the other of our distributions apart."""
    requirements = map(Requirement, fields(wheel, "Requires-Dist"))
    return [
        requirement
        for requirement in requirements
        if requirement.name not in PACKAGES
        and (requirement.marker is None or requirement.marker.evaluate({"extra": extra}))
    ]


def closure(requirements):
    """The installed distributions that are required, and those that they require in turn, by name."""
    waiting, installed = list(requirements), {}
    while waiting:
        requirement = waiting.pop()
        for extra in ["", *requirement.extras]:
            key = canonicalize_name(requirement.name), extra
            if key not in installed:
                installed[key] = distribution(requirement.name)
                others = map(Requirement, installed[key].requires or ())
                waiting += [one for one in others if one.marker is None or one.marker.evaluate({"extra": extra})]
    return {name: one for (name, _), one in installed.items()}


@pytest.mark.parametrize(("name", "package"), PACKAGES.items())
def test_a_distribution_holds_its_package_whole_and_nothing_else(built, name, package):
    with zipfile.ZipFile(built[name][".whl"]) as wheel:
        names = {file for file in wheel.namelist() if ".dist-info/" not in file}
        assert any(file.endswith("/licenses/LICENSE") for file in wheel.namelist())
    assert names == tracked(package)
    with tarfile.open(built[name][".gz"]) as sdist:
        files = {member.name.partition("/")[2] for member in sdist.getmembers() if member.isfile()}
    about = {file for file in files - tracked(package) if ".egg-info/" not in file}
    assert about == {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg"}
    assert files >= tracked(package)


def test_every_dependency_of_the_tree_is_of_one_distribution(built):
    core, views = (built[name][".whl"] for name in PACKAGES)
    assert fields(core, "Version") == fields(views, "Version") == [ken.__version__]
    assert f"ken-pruning=={ken.__version__}" in fields(views, "Requires-Dist")
    whole = {str(Requirement(text)) for text in PROJECT["dependencies"]}
    assert sorted(map(str, required(core) + required(views))) == sorted(whole)
    of_views = {"app", "demo"}
    of_both = PROJECT["optional-dependencies"].keys() - of_views - {"benchmark", "docs", "test"}
    assert set(fields(core, "Provides-Extra")) == of_both
    assert set(fields(views, "Provides-Extra")) == of_views | of_both
    for wheel in (core, views):
        assert not any(text.startswith("Private ::") for text in fields(wheel, "Classifier"))  # an index takes it


@pytest.mark.parametrize(("name", "package"), PACKAGES.items())
def test_a_distribution_requires_what_its_package_imports(built, name, package):
    wheel = built[name][".whl"]
    own = required(wheel)
    at_hand = closure(own + [one for extra in fields(wheel, "Provides-Extra") for one in required(wheel, extra)])
    if package == "kenviz":
        at_hand |= closure(required(built["ken-pruning"][".whl"]))
    owners, imported = packages_distributions(), set()
    for module, path in MODULES.items():
        if module.partition(".")[0] == package:
            tops = {name.partition(".")[0] for name, _ in imports(path)} - {"ken", "kenviz"} - sys.stdlib_module_names
            for top in tops - HOSTS[package]:
                distributions = {canonicalize_name(owner) for owner in owners[top]}
                assert distributions & at_hand.keys(), f"{module} imports {top}"
                imported |= distributions
    assert {canonicalize_name(one.name) for one in own} <= imported  # and nothing that it does not


class Environment:
    """A new environment outside the checkout: our wheels, and of this environment only what they require."""

    def __init__(self, folder, wheels, extra=""):
        self.place, self.bin = folder, folder / "env" / "bin"
        venv.create(folder / "env", symlinks=True, with_pip=False)
        pip = [sys.executable, "-m", "pip", "--python", self.bin / "python", "--disable-pip-version-check", "install"]
        subprocess.run([*pip, "--quiet", "--no-deps", "--no-index", *wheels], check=True)
        (self.site,) = (folder / "env" / "lib").glob("python*/site-packages")
        self.installed = closure([one for wheel in wheels for one in required(wheel, extra)])
        for one in self.installed.values():
            for top in {file.parts[0] for file in one.files if file.parts[0] not in {"..", "__pycache__"}}:
                if not (self.site / top).exists():
                    (self.site / top).symlink_to(one.locate_file(top))
        (folder / "env" / "share").symlink_to(Path(sys.prefix) / "share")  # Voilà's own templates
        self._take_compiled()
        pair = small_pair()
        for name, state in pair._asdict().items():
            save_file(state, folder / f"{name}.safetensors")

    def _take_compiled(self):
        """Take along the loops that numba has compiled for the checkout, if any: to compile them again takes a minute.

        It compares sizes and times of the sources.
        """
        for compiled in (ROOT / "ken").rglob("__pycache__/*.nb[ic]"):
            folder = self.site / compiled.parent.parent.relative_to(ROOT)
            (folder / "__pycache__").mkdir(exist_ok=True)
            shutil.copy2(compiled, folder / "__pycache__")
            source = f"{compiled.name.partition('.')[0]}.py"
            shutil.copystat(compiled.parent.parent / source, folder / source)

    def start(self, command, *words, **options):
        """A command of the environment, with further words, as a process in a folder that is not the checkout."""
        program, *first = command.split()
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE"))}
        words = [self.bin / program, *first, *words]
        return heeding(words, cwd=self.place, env=clean, stdout=subprocess.PIPE, text=True, **options)

    def run(self, command, *words, status=0):
        """What a command says, which ends with this status."""
        process = self.start(command, *words, stderr=subprocess.STDOUT)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == status, said
        return said


MODELS = "fine_tuned.safetensors pretrained.safetensors"


@pytest.fixture(scope="module")
def server(built, tmp_path_factory):
    """Where only ken-pruning is installed."""
    return Environment(tmp_path_factory.mktemp("server"), [built["ken-pruning"][".whl"]])


@pytest.fixture(scope="module")
def notebook(built, tmp_path_factory):
    """Where kenviz is installed, with its app; and a subnetwork's file."""
    environment = Environment(tmp_path_factory.mktemp("notebook"), [one[".whl"] for one in built.values()], "app")
    environment.run(f"ken prune {MODELS} -k 0.5 -o net.ken.safetensors")
    return environment


def test_a_server_prunes_without_the_libraries_of_the_views(server):
    assert not server.installed.keys() & VIEW_LIBRARIES
    assert server.run("python -c", "import ken; print(ken.__file__)").startswith(str(server.site))
    assert server.run("ken --version").strip() == ken.__version__
    assert "--seeds" in server.run("ken demo --help")
    server.run(f"ken prune {MODELS} -k 0.5 -o net.ken.safetensors")
    assert "0.5" in server.run("ken info net.ken.safetensors")
    server.run("ken verify net.ken.safetensors pretrained.safetensors")
    for command in (f"ken report net.ken.safetensors {MODELS}", "ken view net.ken.safetensors", "ken demo"):
        name = " ".join(command.split()[:2])
        needs = f"ken: {name} needs the views, which are not installed: pip install kenviz\n"
        assert server.run(command, status=1) == needs
    assert not (server.place / "report.html").exists()
    assert not (server.place / "ken-demo").exists()


VIEWS = """
import warnings

warnings.simplefilter("error")
import ken, kenviz, torch

net, pair = ken.load("net.ken.safetensors"), ken.Pair("fine_tuned.safetensors", "pretrained.safetensors")
other = ken.prune(*pair, 0.5, "random", progress=False)
sweep = ken.sweep(pair, [0.5], ["ken"], evaluate=lambda model: 0.5, progress=False)
live = ken.Pair(torch.nn.Linear(4, 2), torch.nn.Linear(4, 2))
task = ken.Task([torch.eye(4)], lambda model, batch: model(batch).square().mean(dim=1))
effects = ken.ablate(live, evaluate=task.evaluate, by="tensor", progress=False)
views = {
    "MatrixView": kenviz.MatrixView(net, pair),
    "RowView": kenviz.RowView(net, pair),
    "LayersView": kenviz.LayersView(net, pair),
    "NeighbourView": kenviz.NeighbourView(net, pair),
    "RetentionView": kenviz.RetentionView(net, pair),
    "CompareView": kenviz.CompareView(net, other, pair),
    "SweepView": kenviz.SweepView(sweep),
    "EffectView": kenviz.EffectView(effects, by="tensor"),
    "TextView": kenviz.TextView(live, ken.prune(*live, 1, progress=False), task, by="tensor"),
    "Explorer": kenviz.explore(net, pair),
    "Lesson": kenviz.Lesson(net, pair),
    "SideBySideView": kenviz.SideBySideView({"ken": net, "random": other}, pair),
}
for name, view in views.items():
    assert type(view).__name__ == name and "kenviz." in view.code(), name
assert {name for name in kenviz.__all__ if name.endswith("View") or name in ("Explorer", "Lesson")} == views.keys()
assert "render" in kenviz.BokehPane._esm and kenviz.show(net)
print(kenviz.__file__)
"""


def test_every_view_is_made_where_kenviz_is_installed(notebook):
    assert notebook.run("python -c", VIEWS).startswith(str(notebook.site))


def test_the_report_finds_its_templates(notebook):
    notebook.run(f"ken report net.ken.safetensors {MODELS} -o report.html")
    page = (notebook.place / "report.html").read_text(encoding="utf-8")
    assert "<style" in page
    assert "<script" in page
    assert f"kenviz {ken.__version__}" in page


def test_the_app_finds_its_templates(notebook):
    process = notebook.start(f"ken view net.ken.safetensors {MODELS} --no-browser", start_new_session=True)
    patience = threading.Timer(300, process.kill)  # a page without a kernel never ends, and is never silent
    patience.start()
    try:
        code, _, page = status(_address(process))
    finally:
        patience.cancel()
        process.stdout.close()
        end(process)
    assert code == 200
    assert "#rendered_cells .jp-OutputPrompt" in page  # of our template
    assert "Explorer" in page


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == ken.__version__
    assert citation["license"] == PROJECT["license"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in PROJECT["authors"]]
    (article,) = citation["references"]
    assert article["identifiers"] == [{"type": "other", "value": "arXiv:2402.03142"}]


def test_what_is_checked_before_a_commit_is_what_make_lint_runs():
    rule = (ROOT / "Makefile").read_text(encoding="utf-8").split("\nlint:")[1].split("\n\n")[0]
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    commands = re.findall(r"^\t(.*)$", rule.replace("$(BIN)", ".venv/bin"), re.M)
    assert [hook["entry"] for hook in repository["hooks"]] == commands
    assert repository["repo"] == "local"
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in repository["hooks"])
