"""Hostile subnetwork files: seeded mutations of honest ones, each of which must be refused or do what it says.

Usage: python tests/fuzz.py [--count N] [--seed S]     (`make fuzz` runs a million)

A mutated file is opened, described, verified and injected, into a state dict and in place into a live module. It must
end in success, with every checksum verified, or in a `KenError`; any other exception, a changed model, memory beyond
64 MB, or ten seconds for one file is a failure. Half of the mutations are blind (bits, bytes, cuts). The other half
know the format as well as its author: they edit the record, exchange blobs, make bombs, and set all checksums right.
"""

import argparse
import collections
import copy
import io
import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import xxhash
import zstandard

import ken
from ken.models.tensors.tensor_bytes import fingerprint
from ken.storage.info import describe, text

MEMORY = 64 << 20
SECONDS = 10
RESET = Path("/proc/self/clear_refs")
HUGE = [0, 1, -1, 2**31, 2**32 + 1, 2**40, 2**53, 2**62, 2**63, 2**64, 10**30, 1.5, None, True, "", "x" * 1000, [], {}]


class Model(torch.nn.Module):
    """Layers, a vector, a scalar, a buffer and a head: every kind of tensor that a file can hold, and small."""

    def __init__(self, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def parameter(*shape, dtype=torch.float32):
            return torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype))

        self.sparse = parameter(3, 200)
        self.dense = parameter(24, 16)
        self.brain = parameter(8, 12, dtype=torch.bfloat16)
        self.wide = parameter(40, dtype=torch.float64)
        self.scalar = parameter()
        self.head = parameter(2, 16)
        self.register_buffer("count", torch.arange(3) + seed)


K = {"sparse": 3, "head": 1.0, "*": 0.5}


def honest_files(folder):
    """Files that hold every coding between them, as bytes; and the pretrained model they belong to."""
    pretrained, fine_tuned = Model(0), Model(1)
    files = []
    for raw in (False, True):
        path = Path(folder) / "honest"
        net = ken.prune(fine_tuned, pretrained, K, rule="random", exclude=["wide"] if raw else (), raw=raw)
        net = replace(net, files={"config.json": b"{}", "1_Pooling/config.json": b"[1]", "bpe.codes": b"a b\n" * 99})
        net.save(path)
        files.append(path.read_bytes())
    return files, pretrained


def split(data):
    """Header and blobs of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(header, blobs):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + blobs


def sealed(header, record):
    """The header with a record put in, its checksum right."""
    metadata = header["__metadata__"]
    metadata["ken.record"] = json.dumps(record)
    text = f"{metadata['ken.format']}\n{metadata['ken.record']}"
    metadata["ken.checksum"] = xxhash.xxh3_128(text.encode("utf-8", "surrogatepass")).hexdigest()
    return header


def flip(rng, data):
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    return bytes(data)


def flip_header(rng, data):
    data = bytearray(data)
    length = int.from_bytes(data[:8], "little")
    data[rng.integers(8 + length)] = rng.integers(256)
    return bytes(data)


def cut(rng, data):
    return data[: rng.integers(len(data))]


def lengthen(rng, data):
    at = rng.integers(len(data))
    return data[:at] + rng.bytes(rng.integers(1, 100)) + data[at:]


def overwrite(rng, data):
    at = int(rng.integers(len(data)))
    junk = rng.bytes(int(rng.integers(1, 64))) if rng.random() < 0.7 else b"[" * 5000
    return data[:at] + junk + data[at + len(junk) :]


def header_length(rng, data):
    return int(HUGE[rng.integers(9)] or rng.integers(2**63)).to_bytes(16, "little", signed=True)[:8] + data[8:]


def places(value, path=()):
    """The paths of everything in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def edit(rng, value):
    """Change, drop or double one thing somewhere in a JSON value."""
    value = copy.deepcopy(value)
    every = list(places(value))[1:]
    path = every[rng.integers(len(every))]
    inside = value
    for key in path[:-1]:
        inside = inside[key]
    old, what = inside[path[-1]], rng.integers(4)
    if what == 0:
        del inside[path[-1]]
    elif what == 1 and isinstance(inside, list):
        inside.append(old)
    elif what == 2 and isinstance(old, int) and not isinstance(old, bool):
        inside[path[-1]] = old + int(rng.integers(-9, 10))
    elif what == 2 and isinstance(old, str) and old:
        at = int(rng.integers(len(old)))
        inside[path[-1]] = old[:at] + chr(int(rng.integers(1, 0x3000))) + old[at + 1 :]
    else:
        inside[path[-1]] = HUGE[rng.integers(len(HUGE))]
    return value


def edit_header(rng, data):
    header, blobs = split(data)
    return join(edit(rng, header), blobs)


def edit_path(rng, data):
    """A file that would lie elsewhere, or be another one."""
    header, blobs = split(data)
    record = json.loads(header["__metadata__"]["ken.record"])
    file = record["files"][rng.integers(len(record["files"]))]
    words = [
        "..",
        "",
        ".",
        "a",
        "b.json",
        "config.json",
        "run.py",
        "1_Pooling",
        "x.safetensors",
        "nul",
        "\\",
        "c:",
        "~",
    ]
    file["path"] = "/".join(words[rng.integers(len(words))] for _ in range(rng.integers(1, 5)))
    return join(sealed(header, record), blobs)


def edit_record(rng, data):
    header, blobs = split(data)
    record = json.loads(header["__metadata__"]["ken.record"])
    for _ in range(rng.integers(1, 3)):
        record = edit(rng, record)
    return join(sealed(header, record), blobs)


def rebuilt(rng, data, change):
    """The file with some blobs exchanged by change(blobs, record), offsets, lengths and checksums right again."""
    header, rest = split(data)
    record = json.loads(header["__metadata__"]["ken.record"])
    blobs = {k: rest[slice(*v["data_offsets"])] for k, v in header.items() if k != "__metadata__"}
    change(blobs, record)
    end, out = 0, io.BytesIO()
    for name, blob in blobs.items():
        header[name]["data_offsets"] = [end, end + len(blob)]
        if header[name]["dtype"] == "U8":
            header[name]["shape"] = [len(blob)]
        end += out.write(blob)
    for file in record["files"]:
        file["checksum"] = xxhash.xxh3_128(blobs[f"file:{file['name']}"]).hexdigest()
    for tensor in record["tensors"]:
        for kind in ("mask", "values", "carried"):
            blob = blobs.get(f"{kind}:{tensor['name']}")
            if blob is not None:
                place = tensor if kind == "carried" else tensor[kind]
                place["checksum"] = xxhash.xxh3_128(blob).hexdigest()
                if kind == "mask":
                    place["length"] = len(blob)
    return join(sealed(header, record), out.getvalue())


def exchange(rng, data):
    def change(blobs, record):
        a, b = rng.choice(list(blobs), 2, replace=False)
        blobs[a], blobs[b] = blobs[b], blobs[a]

    return rebuilt(rng, data, change)


def damage(rng, data):
    def change(blobs, record):
        name = list(blobs)[rng.integers(len(blobs))]
        if blobs[name]:
            blobs[name] = flip(rng, blobs[name])

    return rebuilt(rng, data, change)


def inside(rng, data):
    """What is compressed, changed and compressed again: gaps that overflow, masks and planes of any content."""

    def change(blobs, record):
        tensors = [t for t in record["tensors"] if t["status"] == "pruned"]
        tensor = tensors[rng.integers(len(tensors))]
        name, lengths = f"mask:{tensor['name']}", tensor["values"]["lengths"]
        parts = [blobs[name]]
        if rng.random() < 0.5 and lengths:
            name = f"values:{tensor['name']}"
            ends = np.cumsum(lengths)
            parts = [blobs[name][end - length : end] for end, length in zip(ends, lengths, strict=True)]
        which = rng.integers(len(parts))
        try:
            content = bytearray(zstandard.ZstdDecompressor().decompress(parts[which]))
        except zstandard.ZstdError:  # it was not worth compressing
            content = bytearray(parts[which])
            if tensor["mask"]["coding"] == "bits" and name.startswith("mask"):
                tensor["mask"]["coding"] = "bits+zstd"
        at = int(rng.integers(len(content) + 1))
        many = b"\xff" * int(rng.integers(1, 12)) + rng.bytes(1)
        junk = [rng.bytes(3), many, b"\xff" * 8 + b"\x7f", b"\x80" * 9, b""][rng.integers(5)]
        content[at : at + int(rng.choice([0, len(junk), len(junk), 3]))] = junk
        parts[which] = zstandard.ZstdCompressor().compress(bytes(content))
        blobs[name] = b"".join(parts)
        if name.startswith("values"):
            tensor["values"]["lengths"] = list(map(len, parts))

    return rebuilt(rng, data, change)


def bomb(rng, data):
    """A frame that promises, or gives, far more than it should; and sometimes a record that agrees."""

    def change(blobs, record):
        tensor = [t for t in record["tensors"] if t["status"] == "pruned"][rng.integers(4)]
        size = int(2 ** rng.integers(20, 34))
        compressor = zstandard.ZstdCompressor(level=1)
        if size <= 1 << 24:
            frame = compressor.compress(bytes(size))
        else:  # only the frame's header says so: magic, single segment with eight bytes of size, one empty block
            frame = b"\x28\xb5\x2f\xfd\xe0" + size.to_bytes(8, "little") + b"\x03\x00\x00" + bytes(1)
        if rng.random() < 0.5:
            tensor["mask"]["coding"] = ["bits+zstd", "gaps+zstd"][rng.integers(2)]
            blobs[f"mask:{tensor['name']}"] = frame
        else:
            count = len(tensor["values"]["lengths"]) or 4
            tensor["values"] = {"coding": "ulps", "lengths": [len(frame)] * count, "checksum": ""}
            blobs[f"values:{tensor['name']}"] = frame * count
        if rng.random() < 0.5:
            tensor["shape"] = [size]
            tensor["retained"] = size
        if rng.random() < 0.5:
            tensor["pretrained"]["shape"] = tensor["shape"]

    return rebuilt(rng, data, change)


def same(rng, data):
    return data


BLIND = [flip, flip_header, cut, lengthen, overwrite, header_length]
KNOWING = [edit_header, edit_path, edit_record, edit_record, exchange, damage, inside, bomb]


def attempt(path, pretrained, live):
    """Everything that a user does with a file, each thing for itself; raises the first `KenError` of any."""
    net = ken.load(path)
    refused = []

    def inject_in_place():
        net.inject_(live)
        state = live.state_dict()
        for name, tensor in net.items():
            expected = fingerprint(tensor.value) if isinstance(tensor, ken.CarriedTensor) else tensor.result
            assert fingerprint(state[name]) == expected, name
        live.load_state_dict(pretrained)  # the files beside the tensors may be refused all the same

    def export():
        with tempfile.TemporaryDirectory(dir=path.parent) as outer:
            beside = Path(outer) / "beside"
            beside.mkdir()
            ken.export(net, pretrained, Path(outer) / "out", progress=False)
            assert not list(beside.iterdir()), "something was written outside"
            assert {file.name for file in Path(outer).iterdir()} == {"beside", "out"}

    for use in (
        net.table,
        lambda: text(describe(path)),
        lambda: ken.verify(net, progress=False),
        lambda: ken.verify(net, pretrained, progress=False),
        lambda: ken.inject(net, pretrained),
        export,
        inject_in_place,
    ):
        try:
            use()
        except ken.KenError as error:
            refused.append(error)
    if refused:
        raise refused[0]


def most_memory(reset=False):
    """The most memory that this process has had, in bytes; since the last reset, where that can be had (Linux)."""
    if not RESET.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    if reset:
        RESET.write_text("5")
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) << 10


def run(count, seed, report=lambda line: None):
    """Try that many files; returns how each kind of mutation ended. Raises `AssertionError` at the first failure."""

    def too_long(*_):
        raise TimeoutError(f"{SECONDS} s for one file")

    signal.signal(signal.SIGALRM, too_long)
    rng = np.random.default_rng(seed)
    ends = collections.Counter()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        files, model = honest_files(folder)
        pretrained = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        before = {name: fingerprint(tensor) for name, tensor in pretrained.items()}
        path = Path(folder) / "file.ken.safetensors"
        for number in range(count):
            kinds = BLIND if number % 2 else KNOWING
            kind = kinds[rng.integers(len(kinds))] if number >= 4 else same
            data = files[rng.integers(len(files))]
            path.write_bytes(kind(rng, data))
            before_it = most_memory(reset=True)
            signal.alarm(SECONDS)
            try:
                attempt(path, pretrained, model)
                ends[kind.__name__, "accepted"] += 1
                assert kind is not flip or path.read_bytes() == data or harmless(data, path.read_bytes()), "unnoticed"
            except ken.KenError:
                ends[kind.__name__, "refused"] += 1
                assert kind is not same, "an honest file was refused"
            except BaseException as error:
                keep = Path(tempfile.gettempdir()) / f"fuzz-{seed}-{number}.ken.safetensors"
                keep.write_bytes(path.read_bytes())
                raise AssertionError(f"file {number} of seed {seed} ({kind.__name__}), kept as {keep}") from error
            finally:
                signal.alarm(0)
            for what in (pretrained, model.state_dict()):
                assert {name: fingerprint(tensor) for name, tensor in what.items()} == before, f"{number}: changed"
            grown = most_memory() - before_it
            # By fifty files everything has been compiled and loaded.
            assert number < 50 or grown <= MEMORY, (
                f"file {number} of seed {seed} ({kind.__name__}): {grown >> 20} MB more"
            )
            if number % 10_000 == 9_999:
                report(
                    f"{number + 1:>9,} files, {sum(v for (_, end), v in ends.items() if end == 'accepted'):,} accepted"
                )
    return ends


def harmless(old, new):
    """Whether two files say the same but for the spaces behind their headers, or the names of extra metadata."""
    (a, blobs_a), (b, blobs_b) = split(old), split(new)
    return a == b and blobs_a == blobs_b


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):  # tensors this small gain nothing from a second thread
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {processors[args.seed % len(processors)]})
    began = time.perf_counter()
    ends = run(args.count, args.seed, lambda line: print(line, flush=True))
    for kind in dict.fromkeys(name for name, _ in ends):
        print(f"{kind:15}{ends[kind, 'refused']:>10,} refused{ends[kind, 'accepted']:>10,} accepted")
    print(f"{args.count:,} files, seed {args.seed}, {time.perf_counter() - began:.0f} s: no failure")
    sys.exit(0)
