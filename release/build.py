"""Build what is published, ken-pruning and kenviz, from one tree: ``python release/build.py``.

The tree's own pyproject.toml describes the whole; its table ``[tool.ken.distributions]`` says what is whose. For each
distribution the tracked files of its package are copied into a folder with a pyproject.toml of its own, an sdist is
made of that, and the wheel of the unpacked sdist, as pip makes it where there is no wheel. Needs git and setuptools,
and no network. They are put into dist/, or into the folder that is named.
"""

import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TREE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DISTRIBUTIONS = TREE["tool"]["ken"]["distributions"]
PRIVATE = "Private :: Do Not Upload"
_BACKEND = "import sys, setuptools.build_meta as backend; print(getattr(backend, sys.argv[1])(sys.argv[2]))"


def version() -> str:
    """The version of the tree, which ken/__init__.py says."""
    (literal,) = re.findall(r'^__version__ = "(.+)"$', (ROOT / "ken/__init__.py").read_text(encoding="utf-8"), re.M)
    return str(literal)


def metadata(name: str) -> dict[str, Any]:
    """The table ``[project]`` of one distribution.

    Args:
        name: A key of `DISTRIBUTIONS`.

    Returns:
        That of the whole, with the distribution's own name, dependencies, extras and commands.
    """
    whole, own = TREE["project"], DISTRIBUTIONS[name]
    requirements = {re.split(r"[^\w.-]", text)[0]: text for text in whole["dependencies"]}
    elsewhere = {one for other in DISTRIBUTIONS.values() for one in other.get("dependencies", [])}
    dependencies = own.get("dependencies", requirements.keys() - elsewhere)
    scripts = {command: call for command, call in whole["scripts"].items() if call.partition(".")[0] == own["package"]}
    return {
        **{key: value for key, value in whole.items() if key != "dynamic"},
        "name": name,
        "version": version(),
        "description": own["description"],
        "classifiers": [*(text for text in whole["classifiers"] if text != PRIVATE), *own.get("classifiers", [])],
        "dependencies": [
            *(f"{other}=={version()}" for other in own.get("requires", [])),
            *(requirements[one] for one in sorted(dependencies)),
        ],
        "optional-dependencies": {extra: whole["optional-dependencies"][extra] for extra in own["extras"]},
        "scripts": scripts,
    }


def stage(name: str, folder: Path) -> None:
    """Lay the sources of one distribution into a folder: its package, the readme, the licence, and its metadata."""
    package = DISTRIBUTIONS[name]["package"]
    wanted = [package, TREE["project"]["readme"], *TREE["project"]["license-files"]]
    tracked = subprocess.run(["git", "ls-files", "-z", "--", *wanted], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    for path in map(Path, filter(None, tracked.stdout.decode().split("\0"))):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, folder / path)
    data = TREE["tool"]["setuptools"]["package-data"]
    tables = {
        "build-system": TREE["build-system"],
        "project": metadata(name),
        "tool.setuptools": {"packages": {"find": {"include": [package, f"{package}.*"]}}, "package-data": data},
    }
    lines = (f"\n[{title}]\n{_lines(table)}" for title, table in tables.items())
    (folder / "pyproject.toml").write_text("".join(lines).lstrip(), encoding="utf-8")


def _lines(table: dict[str, Any]) -> str:
    return "".join(f"{key} = {_toml(value)}\n" for key, value in table.items())


def _toml(value: Any) -> str:
    """A text, or a list or dictionary of such, as TOML has it; its strings are those of JSON."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)} = {_toml(one)}' for key, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def build(name: str, out: Path) -> list[Path]:
    """Build the sdist and the wheel of one distribution.

    Args:
        name: A key of `DISTRIBUTIONS`.
        out: The folder that they are put into.

    Returns:
        Both files.
    """
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary, "staged")
        stage(name, staged)
        sdist = out / _backend("build_sdist", staged, out)
        with tarfile.open(sdist) as archive:
            archive.extractall(temporary, filter="data")
        unpacked = Path(temporary, sdist.name.removesuffix(".tar.gz"))
        return [sdist, out / _backend("build_wheel", unpacked, out)]


def _backend(step: str, source: Path, out: Path) -> str:
    """Take a step of PEP 517; gives the name of the file that it made, which setuptools prints last."""
    command = [sys.executable, "-c", _BACKEND, step, str(out.resolve())]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{step} of {source.name} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.splitlines()[-1]


def main() -> None:
    """Build all distributions, and print the path of each file."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist")
    out.mkdir(parents=True, exist_ok=True)
    for name in DISTRIBUTIONS:
        print(*build(name, out), sep="\n", flush=True)


if __name__ == "__main__":
    main()
