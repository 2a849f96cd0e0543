"""What is measured within a process: functions that prepare, and give actions by name; see `whole.measuring.inside`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

Actions = dict[str, Callable[[], object]]


def rule(n: int, dtype: str, threads: int = 1) -> Actions:
    """Rows of that length under the rules `ken` and `update`, beside torch.topk of the same."""
    import rows
    import torch

    import ken

    torch.set_num_threads(threads)
    tuned, base = rows.random_rows(n, getattr(torch, dtype))
    prune = {
        name: lambda name=name: ken.prune({"w": tuned}, {"w": base}, n // 2, rule=name, progress=False)
        for name in ("ken", "update")
    }
    return {**prune, "topk": lambda: torch.topk(tuned, n // 2, dim=1)}


def prune(fine_tuned: str, pretrained: str) -> Actions:
    """A pair from disk to a file."""
    import ken

    folder = tempfile.TemporaryDirectory(dir=Path(fine_tuned).parent)
    out = Path(folder.name) / "net.ken.safetensors"
    return {"prune": lambda folder=folder: ken.prune(fine_tuned, pretrained, 0.5, out=out, progress=False)}


def tensors(many: tuple[str, str], one: tuple[str, str]) -> Actions:
    """Many small tensors from disk to a file, and the same entries as one matrix."""
    return {"many": prune(*many)["prune"], "one": prune(*one)["prune"]}


def explore(net: str, fine_tuned: str, pretrained: str) -> Actions:
    """Opening the views of a subnetwork, and of a pair that was not pruned."""
    import ken
    import kenviz

    return {
        "net": lambda: kenviz.explore(ken.load(net), ken.Pair(fine_tuned, pretrained)),
        "pair": lambda: kenviz.explore(ken.Pair(fine_tuned, pretrained), k=0.5),
    }


def explore_pair(fine_tuned: str, pretrained: str) -> Actions:
    """Opening the views of a pair alone."""
    import ken
    import kenviz

    return {"pair": lambda: kenviz.explore(ken.Pair(fine_tuned, pretrained), k=0.5)}


def stages(fine_tuned: str, pretrained: str, net: str) -> Actions:
    """The parts of the way from disk to a file, each alone, as `ken.prune` calls them stretch by stretch; and all."""
    import ken
    from ken.models.tensors.tensor_bytes import bits_of, bytes_of, new_digest
    from ken.rules import RowBlock
    from ken.rules.registry import mask_block
    from ken.storage import mask_codec, value_codec
    from ken.storage.atomic_files import replacing
    from ken.subnetwork.extract import base_bits, distances, whole_rows

    pairing = ken.open_pair(fine_tuned, pretrained)
    names = list(ken.load(net).pruned())
    spans = {name: list(whole_rows(*pairing.row_shape(name))) for name in names}
    models = (pairing.fine_tuned, pairing.pretrained)

    def read(name: str) -> list[tuple]:
        readers = [model.entries(other) for model, other in zip(models, (name, pairing.names[name]), strict=True)]
        return [tuple(reader.read(*span) for reader in readers) for span in spans[name]]

    parts = {name: read(name) for name in names}

    def decide(name: str) -> list[np.ndarray]:
        n = pairing.row_shape(name)[1]
        k = max(1, int(0.5 * n))
        blocks = ([part.double().numpy().reshape(-1, n) for part in both] for both in parts[name])
        return [mask_block("ken", RowBlock(*block), k).reshape(-1) for block in blocks]

    masks = {name: decide(name) for name in names}

    def encode(name: str) -> None:
        packed, retained = [], int(sum(map(np.count_nonzero, masks[name])))
        encoder = value_codec.Encoder(parts[name][0][0].element_size(), retained, Path(net).parent)
        for (tuned, base), mask in zip(parts[name], masks[name], strict=True):
            packed.append(np.packbits(mask))
            encoder.add(distances(tuned, base_bits(base, tuned.dtype, len(tuned)), packed[-1], raw=False))
        mask_codec.encode(np.concatenate(packed), sum(map(len, masks[name])), retained)
        for plane in encoder.finish():
            for _ in plane.parts:
                pass

    def hash_all(name: str) -> None:
        digests = [new_digest() for _ in range(3)]
        for (tuned, base), mask in zip(parts[name], masks[name], strict=True):
            merged = np.where(mask, bits_of(tuned), bits_of(base))
            for digest, data in zip(digests, (bytes_of(base), bytes_of(tuned), merged.data), strict=True):
                digest.update(data)

    data = Path(net).read_bytes()
    folder = tempfile.TemporaryDirectory(dir=Path(net).parent)

    def write() -> None:
        with replacing(Path(folder.name) / "bytes") as file:
            for at in range(0, len(data), 1 << 20):
                file.write(data[at : at + (1 << 20)])

    def every(part: Callable[[str], object]) -> Callable[[], None]:
        def act() -> None:
            for name in names:
                part(name)

        return act

    return {
        "reading": every(read),
        "deciding": every(decide),
        "encoding": every(encode),
        "hashing": every(hash_all),
        "writing": write,
        "all": prune(fine_tuned, pretrained)["prune"],
    }


def scaling(entries: int, n: int, share: float, dtype: str, threads: int = 1) -> Actions:
    """Rows of n in memory, pruned."""
    import torch

    import ken

    torch.set_num_threads(threads)
    shape = (entries // n, n)
    generator = torch.Generator().manual_seed(0)
    base = torch.empty(shape, dtype=getattr(torch, dtype)).normal_(0, 0.04, generator=generator)
    tuned = base + torch.empty_like(base).normal_(0, 1e-3, generator=generator)
    return {"prune": lambda: ken.prune({"w": tuned}, {"w": base}, share, progress=False)}
