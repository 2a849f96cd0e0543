"""export: a subnetwork and its pretrained model as an ordinary checkpoint folder, written a stretch at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ken.errors import ExecutorError
from ken.injection.export_by_workers import write_by_workers
from ken.injection.export_layout import METADATA, ExportLayout
from ken.models.checkpoints import other_files, quantised
from ken.models.checkpoints.as_data import source_as_data
from ken.models.checkpoints.checkpoint import Checkpoint, Source, read
from ken.models.checkpoints.checkpoint_files import CONFIG
from ken.models.checkpoints.location import Location
from ken.storage.atomic_files import replacing_folder
from ken.storage.file_kinds import FOLDER
from ken.storage.model_files import FilesOnDisk, parts_of
from ken.storage.outputs import check_outputs
from ken.storage.shared_places import opened
from ken.storage.uploads import target
from ken.subnetwork.subnetwork import SubnetworkData


def export(
    net: SubnetworkData | str | Path | Location,
    pretrained: Source,
    folder: str | Path,
    *,
    executor: Any = None,
    timeout: float | None = None,
    progress: bool = True,
) -> Path | str:
    """Write the injected model into a new checkpoint folder, which `from_pretrained` opens.

    If the fine-tuned model was such a folder, the new one has its sharding, its configuration and its tokenizer, and
    where it was a pipeline of diffusers or a model of sentence-transformers, its parts in their folders. Else
    the configuration is that of the fine-tuned module, and the tokenizer that of the pretrained folder, if it is one.
    A model that is no transformers model gives model.safetensors alone. The folder gets its name when it is complete:
    on any error, and when the export is interrupted, there is none.

    Args:
        net: The subnetwork, or its place, as `ken.load` takes it.
        pretrained: The pretrained model, as `ken.prune` takes it; its tensors are checked as `ken.inject` does.
        folder: The new folder; it must not exist yet, or be empty.
        executor: Whose workers write it, some tensors each, as for `ken.prune`; net and pretrained are places then,
            which the workers open themselves, and the folder is on a disk that all share. The files are the same.
        timeout: Seconds that a worker may take for some tensors (at least one, or 67 million entries).
        progress: Show a bar if it takes longer than a second.

    Returns:
        The folder.

    Raises:
        SubnetworkError: The pretrained model is not the one that the subnetwork relies on.
        FormatError: The subnetwork's file is damaged.
        OutputError: The folder lies inside that of the pretrained model.
        FileExistsError: There is something in the folder already.
        ExecutorError: Workers are gone, or hang, or do not share the disk.

    Example:
        >>> import tempfile, torch, ken
        >>> pretrained = {"w": torch.zeros(4, 4)}
        >>> net = ken.prune({"w": torch.ones(4, 4)}, pretrained, 2)
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     sorted(path.name for path in export(net, pretrained, Path(parent) / "model").iterdir())
        ['model.safetensors']
    """
    from tqdm.auto import tqdm

    subnetwork, place = opened(net, SubnetworkData, executor)
    model = ""
    if executor is not None:
        model = json.dumps(source_as_data(pretrained, "the pretrained model"))
        if isinstance(target(folder), str):
            raise ExecutorError("workers write into the folder: it must lie on a disk that all share, not behind a URL")
    check_outputs([(folder, FOLDER)], {"the subnetwork": subnetwork, "the pretrained model": pretrained})
    theirs = read(pretrained)
    layout = ExportLayout(subnetwork, theirs)
    if not subnetwork.files and subnetwork.architecture is not None:
        other_files.check(theirs.files)
    total = sum(layout.entries(name) for members in layout.shards.values() for name in members)
    with (
        replacing_folder(folder) as part,
        tqdm(total=total, desc="export", unit="entry", unit_scale=True, disable=not progress, delay=1.0) as bar,
    ):
        for path, data in _files(subnetwork, theirs):
            (part / path).parent.mkdir(parents=True, exist_ok=True)
            with (part / path).open("wb") as file:
                file.writelines(data)
        for shard in layout.shards:
            (part / shard).parent.mkdir(parents=True, exist_ok=True)
        if executor is None:
            _write(layout, part, bar)
        else:
            write_by_workers(layout, part, (place, model), executor=executor, timeout=timeout, bar=bar)
        for path, index in layout.indices().items():
            (part / path).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return target(folder)


def _write(layout: ExportLayout, folder: Path, bar: Any) -> None:
    """Write the files of weights, one after the other."""
    for shard, members in layout.shards.items():
        with (folder / shard).open("wb") as file:
            writer = layout.writer(file, shard)
            for name in members:
                bar.set_postfix_str(name, refresh=False)
                stored_name, dtype, shape = layout.blob(name, shard)
                writer.add(stored_name, dtype=dtype, shape=shape, parts=_counted(layout, name, bar))
            writer.finish(METADATA)


def _counted(layout: ExportLayout, name: str, bar: Any) -> Iterator[memoryview]:
    """The bytes of a tensor; the bar is told how many entries have gone by."""
    entries, size = layout.entries(name), layout.size(name)
    for part in layout.parts(name):
        yield part
        bar.update(len(part) * entries // max(size, 1))


def _files(net: SubnetworkData, theirs: Checkpoint) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Configuration and tokenizer by their path: what the subnetwork brings along, else what can be had."""
    files: Mapping[str, bytes] = net.files
    if not net.files and net.architecture is not None:
        files = FilesOnDisk({path: file for path, file in theirs.files.items() if path != CONFIG})
    for path in files:
        if path == CONFIG:
            yield path, [_plain(b"".join(parts_of(files, path)))]
        # Subnetworks of before may bring it; transformers would look for an adapter that is not there.
        elif path.rpartition("/")[2] != "adapter_config.json":
            yield path, parts_of(files, path)
    if not net.files and net.architecture is not None:
        config: dict[str, Any] = {
            **quantised.without(net.architecture.config),
            "architectures": [net.architecture.class_name],
        }
        yield CONFIG, [(json.dumps(config, indent=2, sort_keys=True) + "\n").encode()]


def _plain(config: bytes) -> bytes:
    """A configuration that speaks of no quantisation: what is written beside it is plain values."""
    try:
        settings = json.loads(config)
    except (ValueError, RecursionError):
        return config
    if not isinstance(settings, dict) or quantised.method(settings) is None:
        return config
    return (json.dumps(quantised.without(settings), indent=2) + "\n").encode()
