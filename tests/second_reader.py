"""A second reader of subnetwork files, written from ken/FORMAT.md alone: a test of whether the document is enough.

It shares no code with ken, nor with torch and safetensors. Tensors are arrays of bit patterns, unsigned integers as
wide as the entries: so bfloat16 and float8 need no library, and nothing is rounded. Hence it refuses to cast a base.

`read` checks the version, the record and every blob; `inject` the pretrained tensors and the results; what does not fit
is a ValueError. That finds accidents; against files made to do harm it does not guard. `places` decodes a mask to the
positions of the retained entries, `move` decodes distances and adds them to the base. `files` gives what came along.
"""

import json
from pathlib import Path

import numpy as np
import zstandard
from xxhash import xxh3_128_hexdigest as digest


def check(fits: bool, complaint: str) -> None:
    if not fits:
        raise ValueError(complaint)


def read(path: str | Path) -> dict:
    """Give the `record` of a file, and its `blobs` as arrays of bytes by name."""
    data = Path(path).read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8:end]), np.frombuffer(data[end:], np.uint8)
    head = {"ken.format": "none"} | header.pop("__metadata__", {})
    check(head["ken.format"].startswith("1."), f"this reader knows format version 1, the file has {head['ken.format']}")
    text = f"{head['ken.format']}\n{head['ken.record']}".encode()
    check(digest(text) == head["ken.checksum"], "the record is damaged: ken.checksum is another")
    record = json.loads(head["ken.record"])
    blobs = {name: body[slice(*entry["data_offsets"])].copy() for name, entry in header.items()}
    parts = {"carried": ["carried"], "pruned": ["mask", "values"]}
    wanted = {f"{p}:{t['name']}": t.get(p, t)["checksum"] for t in record["tensors"] for p in parts[t["status"]]}
    wanted |= {f"file:{file['name']}": file["checksum"] for file in record["files"]}
    wrong = wanted.items() ^ {name: digest(blob) for name, blob in blobs.items()}.items()
    check(not wrong, f"blobs missing, unknown or damaged (checksum): {sorted({name for name, _ in wrong})}")
    return {"record": record, "blobs": blobs}


def unzstd(frame: np.ndarray, size: int) -> np.ndarray:
    return np.frombuffer(zstandard.ZstdDecompressor(max_window_size=2**23).stream_reader(frame).read(size), np.uint8)


def places(coding: str, blob: np.ndarray, n: int) -> np.ndarray:
    if coding == "gaps+zstd":
        data = unzstd(blob, zstandard.frame_content_size(blob))
        gaps = np.split(data & 127, np.flatnonzero(data < 128)[:-1] + 1)
        return np.cumsum([1 + sum(int(byte) << 7 * i for i, byte in enumerate(gap)) for gap in gaps]) - 1
    if coding in ("none", "all"):
        return np.arange(n if coding == "all" else 0)
    return np.flatnonzero(np.unpackbits(blob if coding == "bits" else unzstd(blob, -(-n // 8))))


def move(base: np.ndarray, blob: np.ndarray, lengths: list[int]) -> np.ndarray:
    z, low = np.zeros_like(base), np.iinfo(base.dtype).max >> 1  # all bits but the sign
    for i, plane in enumerate(np.split(blob, np.cumsum(lengths)[:-1])):
        z |= (plane if plane.size == base.size else unzstd(plane, base.size)).astype(z.dtype) << 8 * i
    key = np.where(base > low, base ^ low, base) + np.where(z & 1, ~(z >> 1), z >> 1)  # unsigned: modulo 2^w by itself
    return np.where(key > low, key ^ low, key)


def inject(path: str | Path, pretrained: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Give the bits of all fine-tuned tensors, other names included, from those of the pretrained ones."""
    (record, blobs), result = read(path).values(), {}
    for t in record["tensors"]:
        name, source, n = t["name"], t["pretrained"], int(np.prod(t["shape"]))
        if t["status"] == "carried":
            width = next((w for w in (64, 32, 16) if str(w) in t["dtype"]), 8)  # bool has none in its name
            result[name] = blobs[f"carried:{name}"].view(f"<u{width // 8}").reshape(t["shape"])
            continue
        given = pretrained.get(source["name"], np.zeros(0))
        actual = source | {"dtype": t["dtype"], "shape": list(given.shape), "fingerprint": digest(given.tobytes())}
        check(actual == source, f"{name}: not the pretrained tensor of this file, which is {source}, but {actual}")
        entries = np.pad(given.ravel(), (0, n - given.size))  # the base of rows that pretraining lacks is +0.0
        at = places(t["mask"]["coding"], blobs[f"mask:{name}"], n)
        blob, raw = blobs[f"values:{name}"], t["values"]["coding"] == "raw"
        entries[at] = blob.view(entries.dtype) if raw else move(entries[at], blob, t["values"]["lengths"])
        check(digest(entries.tobytes()) == t["result"], f"{name}: the result is not the recorded one (fingerprint)")
        result[name] = entries.reshape(t["shape"])
    return result | {alias: result[name] for alias, name in record["tied"].items()}


def files(path: str | Path) -> dict[str, bytes]:
    """Give the configuration and tokenizer files by their path; a long one lies in several parts."""
    (record, blobs), result = read(path).values(), {}
    for file in record["files"]:
        content = unzstd(blobs[f"file:{file['name']}"], file["size"]).tobytes() if file["size"] else b""
        result[file.get("path") or file["name"]] = result.get(file.get("path") or file["name"], b"") + content
    return result
