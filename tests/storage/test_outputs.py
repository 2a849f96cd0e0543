"""No command and no function writes over what it reads, whatever it is called, nor unasked over anything else."""

import os
import stat
import tempfile
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pandas as pd
import pytest
import torch
import typer
from checkpoints import llama_folders
from hypothesis import given
from hypothesis import strategies as st
from kenviz_models import small_pair
from safetensors.torch import save_file

import ken
import ken.demo
import kenviz
from ken.cli import commands as cli
from ken.errors import OutputError
from ken.storage.file_kinds import PAGE, RESULTS, SUBNETWORK, TABLE
from ken.storage.outputs import check_outputs

COMMAND = typer.main.get_command(cli.app)  # once: there are many calls


def run(*words):
    """A command, as the shell runs it; errors of ours come out as they are."""
    COMMAND.main([*map(str, words)], standalone_mode=False)


def tree(folder):
    """Everything in a folder: links, bytes, rights, and which files are one."""
    states = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        what = path.readlink() if path.is_symlink() else path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        states[path] = (what, status.st_mode, status.st_ino, status.st_mtime_ns)
    return states


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Models in folders and in files, two subnetworks, results, texts, a tokenizer; and views of them all."""
    home, pair = tmp_path_factory.mktemp("world"), small_pair()
    for name, state in pair._asdict().items():
        (home / name / "1_Part").mkdir(parents=True)
        save_file(state, home / name / "model.safetensors")
        (home / name / "1_Part" / "config.json").write_text("{}")
        save_file(state, home / f"{name}.safetensors")
    folders = ken.Pair(home / "fine_tuned", home / "pretrained")
    net, other = (ken.prune(*folders, 0.5, rule, out=home / name) for rule, name in (("ken", "net"), ("grid", "other")))
    options = {"evaluate": lambda _: 0.5, "progress": False, "results": home / "kept.jsonl"}
    ken.sweep(pair, [0.5], ["ken"], **options).to_csv(home / "table.csv", index=False)
    (home / "texts.csv").write_text("text,label\na,0\n")
    (home / "tokenizer").mkdir()
    (home / "tokenizer" / "tokenizer.json").write_text("{}")
    (home / "cache" / "demo" / "key").mkdir(parents=True)
    (home / "cache" / "demo" / "key" / "task.json").write_text("{}")
    views = {
        "MatrixView": kenviz.MatrixView(net, folders),
        "LayersView": kenviz.LayersView(net, folders),
        "NeighbourView": kenviz.NeighbourView(net, folders),
        "RetentionView": kenviz.RetentionView(net, folders, measure="share"),
        "RowView": kenviz.RowView(net, folders),
        "Explorer": kenviz.explore(home / "net", *folders),
        "CompareView": kenviz.CompareView(net, other, folders),
        "SweepView": kenviz.SweepView(home / "kept.jsonl"),
    }
    return SimpleNamespace(home=home, pair=folders, net=net, other=other, views=views)


def demo(_, out):
    """`ken demo` into the folder; or where the file stands in the place of its table."""
    out = Path(out)
    if not out.is_file():
        run("demo", "--out", out)
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "results.csv").symlink_to(out.absolute())
        run("demo", "--out", folder, "--force")


FOLDERS = ("fine_tuned", "pretrained")
FILES = ("fine_tuned.safetensors", "pretrained.safetensors")


def ways():
    """Name → what is read, and a function of the world and the output; overwrite or --force is on wherever it is."""

    def view(name):
        return lambda world, out: world.views[name].to_html(out, overwrite=True)

    def sweep(function, *arguments):
        def call(world, out):
            function(
                world.pair, *arguments, evaluate=lambda _: pytest.fail("work has begun"), results=out, progress=False
            )

        return call

    def models(world, kind):
        return (world.home / name for name in kind)

    writers = {
        "prune": (FOLDERS, lambda world, out: ken.prune(*world.pair, 0.5, out=out, overwrite=True)),
        "prune files": (FILES, lambda world, out: ken.prune(*models(world, FILES), 0.5, out=out, overwrite=True)),
        "save": (("net",), lambda world, out: world.net.save(out, overwrite=True)),
        "export": (("net", "pretrained"), lambda world, out: ken.export(world.net, world.pair.pretrained, out)),
        "sweep": (FOLDERS, sweep(ken.sweep, [0.5])),
        "smallest_k": (FOLDERS, sweep(ken.smallest_k, 0.1)),
        "report": (
            ("net", "other", "table.csv", *FOLDERS),
            lambda world, out: kenviz.report(
                *(world.net, world.pair, out),
                results=str(world.home / "table.csv"),
                compare=world.other,
                overwrite=True,
            ),
        ),
        "ken prune": (
            FOLDERS,
            lambda world, out: run("prune", *world.pair, "-k", "0.5", "-o", out, "--force"),
        ),
        "ken inject": (
            ("net", "pretrained"),
            lambda world, out: run("inject", world.home / "net", world.pair[1], "-o", out),
        ),
        "ken report": (
            ("net", "other", "kept.jsonl", *FOLDERS),
            lambda world, out: run(
                *("report", world.home / "net", *world.pair, "--compare", world.home / "other"),
                *("--results", world.home / "kept.jsonl", "-o", out, "--force"),
            ),
        ),
        "ken demo": (("cache",), demo),
    }
    for option in ("-o", "--results"):
        writers[f"ken sweep {option}"] = (
            (*FOLDERS, "texts.csv", "tokenizer"),
            lambda world, out, option=option: run(
                *("sweep", *world.pair, "--texts", world.home / "texts.csv", "--tokenizer", world.home / "tokenizer"),
                *(option, out, "--force"),
            ),
        )
    for name in ("MatrixView", "LayersView", "NeighbourView", "RetentionView", "RowView", "Explorer"):
        writers[name] = (("net", *FOLDERS), view(name))
    writers["CompareView"] = (("net", "other", *FOLDERS), view("CompareView"))
    writers["SweepView"] = (("kept.jsonl",), view("SweepView"))
    return writers


WAYS = ways()


def spellings(path, folder):
    """An input by other names. Links are made in the folder; descriptors stay open until the generator ends."""
    yield path
    yield str(path) + os.sep
    yield Path(os.path.relpath(path))
    yield path.parent / path.name / ".." / path.name if path.is_dir() else path.parent / "tokenizer" / ".." / path.name
    link, chain, above = folder / "link", folder / "chain", folder / "above"
    link.symlink_to(path)
    chain.symlink_to(Path(os.path.relpath(link, folder)))
    above.symlink_to(path.parent)
    yield from (link, chain, above / path.name)
    if path.is_file():
        os.link(path, folder / "hard")
        yield folder / "hard"
        if Path("/proc/self/fd").is_dir():
            with path.open("rb") as file:
                yield Path(f"/proc/self/fd/{file.fileno()}")
    else:
        (folder / "nowhere").symlink_to(path / "new")  # leads into it, to a file that is not there yet
        yield from (path / "new", link / "new", folder / "nowhere", path / "1_Part" / ".." / "new", path / "n" / "new")
        for file in sorted(path.rglob("*")):
            yield file
            if file.is_file() and not (folder / f"hard {file.name}").exists():
                os.link(file, folder / f"hard {file.name}")
                yield folder / f"hard {file.name}"


@pytest.mark.parametrize("way", WAYS)
def test_no_output_is_what_is_read_in_whichever_spelling(world, way, tmp_path, monkeypatch):
    monkeypatch.chdir(world.home / "tokenizer")
    monkeypatch.setenv("KEN_CACHE", str(world.home / "cache"))
    monkeypatch.setattr(ken.demo, "pair", lambda **_: pytest.fail("work has begun"))
    read, write = WAYS[way]
    count = 0
    for name in read:
        folder = tmp_path / name
        folder.mkdir()
        before = None
        for out in spellings(world.home / ("cache/demo" if name == "cache" else name), folder):
            before = tree(world.home), tree(tmp_path)
            with pytest.raises(OutputError, match="cannot be written: it (is|lies inside) the ") as error:
                write(world, out)
            assert str(Path(out)) in str(error.value) or way == "ken demo"
            assert (tree(world.home), tree(tmp_path)) == before, out
            count += 1
    assert count >= 7 * len(read)


detours = st.lists(st.sampled_from(["dots", "link", "folder link", "hard", "relative", "dot"]), max_size=5)


@given(
    name=st.sampled_from(["fine_tuned", "pretrained/model.safetensors", "fine_tuned/new", "pretrained/1_Part/new"]),
    detours=detours,
    way=st.sampled_from(["prune", "ken prune"]),
)
def test_nor_by_any_way_round(world, tmp_path_factory, name, detours, way):
    folder = tmp_path_factory.mktemp("detours")
    path = world.home / name
    for number, detour in enumerate(detours):
        if detour == "dots" and not path.parent.is_symlink():  # behind a link ".." leads elsewhere
            path = path.parent / ".." / path.parent.name / path.name
        elif detour == "dot":
            path = Path(f"{path.parent}/./{path.name}")
        elif detour == "relative":
            path = Path(os.path.relpath(path))
        elif detour == "link":
            (folder / f"link {number}").symlink_to(path.absolute())
            path = folder / f"link {number}"
        elif detour == "folder link":
            (folder / f"folder {number}").symlink_to(path.parent.absolute())
            path = folder / f"folder {number}" / path.name
        elif detour == "hard" and path.is_file():
            os.link(os.path.realpath(path), folder / f"hard {number}")
            path = folder / f"hard {number}"
    before = tree(world.home), tree(folder)
    with pytest.raises(OutputError, match="cannot be written"):
        WAYS[way][1](world, path)
    assert (tree(world.home), tree(folder)) == before


# ---- the case that was reported


@pytest.mark.parametrize("shell", [False, True], ids=["python", "shell"])
@pytest.mark.parametrize("model", ["fine_tuned", "pretrained"])
def test_weights_survive_being_named_as_the_subnetwork(tmp_path, model, shell):
    pair = ken.Pair(*llama_folders(tmp_path))
    weights = tmp_path / model / "model.safetensors"
    (tmp_path / "link").symlink_to(weights)
    before = tree(tmp_path)
    for out in (weights, tmp_path / "link", tmp_path / "fine_tuned" / ".." / model / "model.safetensors"):
        with pytest.raises(OutputError) as error:
            run("prune", *pair, "-k", "0.5", "-o", out) if shell else ken.prune(*pair, 0.5, out=out)
        assert str(out) in str(error.value)
        assert str(weights) in str(error.value)
        assert tree(tmp_path) == before


def test_an_error_on_the_command_line_is_a_line(world, monkeypatch, capsys):
    net = world.home / "net"
    monkeypatch.setattr("sys.argv", ["ken", "report", str(net), *map(str, world.pair), "-o", str(net)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    assert capsys.readouterr().err == (
        f"ken: {net} cannot be written: it is the subnetwork, {net}, which must stay; give another name\n"
    )


def test_what_the_hub_has_cached_is_read_too(world, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    place = tmp_path / "hub" / "models--org--tuned"
    snapshot, blob = place / "snapshots" / "0123abcd", place / "blobs" / "b0"
    for folder in (snapshot, blob.parent, place / "refs"):
        folder.mkdir(parents=True)
    (place / "refs" / "main").write_text("0123abcd")
    save_file(small_pair().fine_tuned, blob)
    (snapshot / "model.safetensors").symlink_to(Path("..", "..", "blobs", "b0"))
    before = tree(tmp_path)
    for out in (blob, snapshot / "model.safetensors", snapshot / "new", snapshot):
        for write in (
            lambda out: ken.prune("org/tuned", world.pair.pretrained, 0.5, out=out, overwrite=True),
            lambda out: run("prune", "org/tuned", world.pair.pretrained, "-k", "0.5", "-o", out, "--force"),
        ):
            with pytest.raises(OutputError, match="the fine-tuned model"):
                write(out)
            assert tree(tmp_path) == before


# ---- what may be written


def test_a_file_beside_a_file_that_is_read_is_fine(world, tmp_path):
    for name in FILES:
        os.link(world.home / name, tmp_path / name)
    ken.prune(*(tmp_path / name for name in FILES), 0.5, out=tmp_path / "net")
    run("prune", *(tmp_path / name for name in FILES), "-k", "0.5", "-o", tmp_path / "net")


def test_a_subnetwork_is_replaced_while_another_goes_on_reading_it(world, tmp_path):
    old = ken.load(world.net.save(tmp_path / "net"))
    new = ken.prune(*world.pair, 3, out=tmp_path / "net")
    assert (old.recipe.k, new.recipe.k) == (0.5, 3)
    assert torch.equal(ken.inject(old, world.pair.pretrained)["embed.weight"], _whole(world)["embed.weight"])
    # What the old one reads has no name any more: the file of that name is another.
    old.save(tmp_path / "net")
    assert ken.load(tmp_path / "net").recipe.k == 0.5


def _whole(world):
    return ken.inject(world.net, world.pair.pretrained)


def test_a_subnetwork_is_not_saved_over_the_file_that_it_is_read_from(world, tmp_path):
    net = ken.load(world.net.save(tmp_path / "net"))
    before = tree(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="it is the file of this subnetwork"):
            net.save(tmp_path / "net", overwrite=overwrite)
    assert tree(tmp_path) == before


KINDS = {
    "weights": lambda world: (world.home / "fine_tuned.safetensors").read_bytes(),
    "readme": lambda _: b"# Read me\n",
    "csv": lambda _: b"text,label\nb,1\n",
    "table": lambda world: (world.home / "table.csv").read_bytes(),
    "page": lambda _: b"<!doctype html><p>old",
    "net": lambda world: (world.home / "other").read_bytes(),
    "results": lambda world: (world.home / "kept.jsonl").read_bytes(),
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("way", ["prune", "report", "save", "view", "ken prune", "ken report"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_is_replaced_on_request_alone(world, tmp_path, way, kind):
    commands = {"report": ("report", world.home / "net", *world.pair), "prune": ("prune", *world.pair, "-k", "0.5")}

    def shell(out, overwrite=False):
        words = [*commands[way.removeprefix("ken ")], "-o", out, *(["--force"] if overwrite else [])]
        run(*words, *(["--sections", "glossary"] if "report" in way else []))

    write = {
        "prune": lambda out, **more: ken.prune(*world.pair, 0.5, out=out, **more),
        "save": lambda out, **more: world.net.save(out, **more),
        "view": lambda out, **more: world.views["SweepView"].to_html(out, **more),
        "report": lambda out, **more: kenviz.report(world.net, world.pair, out, sections=["glossary"], **more),
    }.get(way, shell)
    own = "net" if way in ("prune", "save", "ken prune") else "page"
    out = tmp_path / "out"
    out.write_bytes(KINDS[kind](world))
    if kind not in (own, "empty"):
        before = tree(tmp_path)
        with pytest.raises(OutputError, match=f"{out} is there already and holds .*, not a.*--force.*overwrite=True"):
            write(out)
        assert tree(tmp_path) == before
        write(out, overwrite=True)
    else:
        write(out)
    assert out.read_bytes() != KINDS[kind](world)


@pytest.mark.parametrize("kind", ["weights", "readme", "csv", "net", "page"])
def test_a_file_of_results_only_grows_and_no_other_becomes_one(world, tmp_path, kind):
    out = tmp_path / "out"
    out.write_bytes(KINDS[kind](world))
    before = tree(tmp_path)
    for write in (WAYS["sweep"][1], WAYS["smallest_k"][1], WAYS["ken sweep --results"][1]):
        with pytest.raises(OutputError, match="not a file of results; give another name$"):
            write(world, out)
        assert tree(tmp_path) == before


@pytest.mark.parametrize("kind", ["weights", "readme", "csv", "net", "page", "results"])
def test_the_table_of_a_sweep_replaces_another_and_nothing_else(world, tmp_path, kind):
    out = tmp_path / "out"
    out.write_bytes(KINDS[kind](world))
    before = tree(tmp_path)
    with pytest.raises(OutputError, match="not the table of a sweep.*--force"):
        run("sweep", *world.pair, "--texts", world.home / "texts.csv", "-o", out)
    assert tree(tmp_path) == before
    (tmp_path / "results.csv").symlink_to(out)
    with pytest.raises(OutputError, match="not the table of a sweep.*--force"):
        run("demo", "--out", tmp_path)
    assert out.read_bytes() == KINDS[kind](world)
    check_outputs([(out, TABLE)], {}, overwrite=True)
    pd.read_csv(world.home / "table.csv").to_csv(out, index=False)
    check_outputs([(out, TABLE)], {})


def test_two_outputs_of_one_command_are_two_files(world, tmp_path):
    texts = world.home / "texts.csv"
    (tmp_path / "link").symlink_to(tmp_path / "one")
    (tmp_path / "old").touch()
    os.link(tmp_path / "old", tmp_path / "hard")
    for one, other in (("one", "one"), ("one", "link"), ("one", "../" + tmp_path.name + "/ONE"), ("old", "hard")):
        before = tree(tmp_path)
        with pytest.raises(OutputError, match="are one file; give every output a name of its own"):
            run("sweep", *world.pair, "--texts", texts, "-o", tmp_path / one, "--results", tmp_path / other)
        assert tree(tmp_path) == before
    check_outputs([(tmp_path / "one", TABLE), (tmp_path / "other", RESULTS)], {"the texts": texts})


def test_what_the_demonstration_leaves_is_two_files_too(tmp_path, monkeypatch):
    monkeypatch.setattr(ken.demo, "pair", lambda **_: pytest.fail("work has begun"))
    (tmp_path / "results.csv").symlink_to("report.html")
    with pytest.raises(OutputError, match="are one file"):
        run("demo", "--out", tmp_path)


def test_the_cache_of_the_demonstration_is_no_place_for_its_report_even_before_it_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("KEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ken.demo, "pair", lambda **_: pytest.fail("work has begun"))
    for out in (tmp_path / "cache" / "demo", tmp_path / "cache" / "demo" / "report"):
        with pytest.raises(OutputError, match="lies inside the cache of the demonstration"):
            run("demo", "--out", out)
    assert list(tmp_path.iterdir()) == []


def test_a_device_and_a_folder_are_never_replaced(world, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for kind in (SUBNETWORK, PAGE, TABLE):
        with pytest.raises(FileExistsError, match="it is no file, but a device"):
            check_outputs([(pipe, kind)], {}, overwrite=True)
        with pytest.raises(IsADirectoryError, match="it is a folder"):
            check_outputs([(tmp_path, kind)], {}, overwrite=True)
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            check_outputs([(tmp_path / "none" / "out", kind)], {}, overwrite=True)
    with pytest.raises(FileExistsError, match="it is no file, but a device"):
        world.net.save(os.devnull, overwrite=True)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_links_that_lead_nowhere_or_in_circles_are_no_obstacle(world, tmp_path):
    (tmp_path / "nowhere").symlink_to("none")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "up").symlink_to("..")
    read = {"the fine-tuned model": tmp_path, "the pretrained model": tmp_path / "circle"}
    check_outputs([(tmp_path.parent / "beside", SUBNETWORK)], read)
    with pytest.raises(OutputError, match="lies inside the fine-tuned model"):
        check_outputs([(tmp_path / "up" / tmp_path.name / "new", SUBNETWORK)], read)


def test_a_subnetwork_that_is_all_in_memory_may_replace_the_file_it_came_from(net, pair, tmp_path):
    path = net.save(tmp_path / "net")
    loaded = ken.load(path)
    with pytest.raises(ken.KenError, match="which must stay"):
        loaded.save(path, overwrite=True)
    loaded.in_memory.save(path)
    assert ken.load(path).share == net.share
