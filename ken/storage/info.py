"""What a subnetwork file holds, as plain data and as text. Nothing is decoded."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from ken.errors import printable
from ken.models.checkpoints.location import Named
from ken.models.checkpoints.remote.mirror import remote_behind
from ken.models.pairing.relation import Relation
from ken.models.tensors.tensor_bytes import dtype_named
from ken.storage.hub_subnetworks import locate_subnetwork
from ken.storage.lazy_tensors import Lazy, outline
from ken.storage.reader import read
from ken.storage.schema import CarriedRecord, PrunedRecord
from ken.subnetwork.subnetwork import Provenance, SubnetworkData, k_text


def describe(path: Named) -> dict[str, Any]:
    """What is in a subnetwork file, on the disk or on the hub, as plain data that JSON can hold; sizes are in bytes.

    Raises `FormatError` if it is none. Only the header is read: `ken.verify` says whether the rest is whole.
    """
    path = locate_subnetwork(path)
    remote = remote_behind(path)
    net = read(path, SubnetworkData)
    assert isinstance(net.tensors, Lazy)
    tensors = [_tensor(record) for record in net.tensors.records.values()]
    pruned = [tensor for tensor in tensors if tensor["status"] != "carried"]
    recipe = net.recipe
    return {
        "file": path.name,
        "size": path.stat().st_size if remote is None else remote.size,
        "size_dense": sum(tensor["size_dense"] for tensor in tensors),
        "recipe": {
            "rule": recipe.rule,
            "k": recipe.k,
            "on": recipe.on,
            "bandwidth": recipe.bandwidth,
            "kernel": recipe.kernel,
            "scope": recipe.scope,
            "rescale": recipe.rescale,
            "seed": recipe.seed,
            "include": list(recipe.include),
            "exclude": list(recipe.exclude),
            "layers_only": recipe.layers_only,
            "rows": dict(recipe.rows),
            "versions": dict(recipe.versions),
        },
        "fine_tuned": asdict(net.fine_tuned),
        "pretrained": asdict(net.pretrained),
        "architecture": None if net.architecture is None else net.architecture.class_name,
        "entries": net.entries,
        "retained": net.retained,
        "share": net.share if net.entries else None,
        "pruned": len(pruned),
        "carried": len(tensors) - len(pruned),
        "size_masks": sum(tensor["size_mask"] for tensor in pruned),
        "size_values": sum(tensor["size_values"] for tensor in pruned),
        "size_carried": sum(tensor["size_dense"] for tensor in tensors if tensor["status"] == "carried"),
        "tied": dict(net.tied),
        "only_pretrained": {name: list(shape) for name, shape in net.only_pretrained.items()},
        "files": list(net.files),
        "notes": list(net.notes),
        "relation": None if net.relation is None else asdict(net.relation) | {"size": net.relation.size},
        "lacking": {name: list(reference.shape) for name, reference in net.lacking.items()},
        "tensors": tensors,
    }


def text(described: dict[str, Any]) -> str:
    """The same for people: a line a fact, a table of the tensors."""
    recipe, size = described["recipe"], described["size"]
    seed = f", seed {recipe['seed']}" if recipe["seed"] else ""
    patterns = "".join(f", {kind} {' '.join(recipe[kind])}" for kind in ("include", "exclude") if recipe[kind])
    patterns += ", retained updates divided by the share retained" if recipe["rescale"] == "share" else ""
    patterns += ", layers only" if recipe["layers_only"] else ""
    patterns += "".join(f", rows of {pattern}: {cut}" for pattern, cut in recipe["rows"].items())
    share = "" if described["share"] is None else f" ({100 * described['share']:.1f} %)"
    whole = described["size_dense"]
    dense = f", {100 * size / whole:.1f} % of the dense model" if whole else ""
    rule = (
        f"{recipe['rule']}, {k_text(recipe['k'], recipe['scope'])}, on {recipe['on']}, "
        f"bandwidth {recipe['bandwidth']}{seed}{patterns}"
    )
    sizes = ", ".join(f"{kind} {_size(described[f'size_{kind}'])}" for kind in ("values", "masks", "carried"))
    facts = [
        ("file", f"{described['file']}, {_size(size)}{dense}"),
        ("rule", rule),
        ("retained", f"{described['retained']:,} of {described['entries']:,} entries{share}"),
        ("tensors", f"{described['pruned']} pruned, {described['carried']} carried, {len(described['tied'])} tied"),
        ("bytes", sizes),
        ("fine-tuned", _model_text(described["fine_tuned"])),
        ("pretrained", _model_text(described["pretrained"])),
        ("update", _relation_text(described["relation"])),
        ("class", described["architecture"] or "not recorded"),
        ("files", ", ".join(described["files"]) or "none"),
        ("made with", ", ".join(f"{name} {version}" for name, version in recipe["versions"].items())),
    ]
    lines = [f"{name:<12}{printable(value)}" for name, value in facts]
    lacking = described["lacking"]
    if lacking:
        count = sum(math.prod(shape) for shape in lacking.values())
        lines.append(
            f"{'lacking':<12}{len(lacking)} tensors of {count:,} entries: they are the pretrained model's, as "
            "the fine-tuned checkpoint lacks them"
        )
    lines += [f"{'note':<12}{printable(note)}" for note in described["notes"]]
    lines += ["", f"{'status':<9}{'retained':>12}{'entries':>13}{'bytes':>12}  tensor"]
    for tensor in described["tensors"]:
        stored = tensor["size_dense"] if tensor["status"] == "carried" else tensor["size_mask"] + tensor["size_values"]
        why = f" ({tensor['reason']})" if tensor["reason"] else ""
        name = printable(f"{tensor['name']} {tensor['dtype']} {tensor['shape']}{why}")
        lines.append(f"{tensor['status']:<9}{tensor['retained']:>12,}{tensor['entries']:>13,}{stored:>12,}  {name}")
    return "\n".join(lines)


def _tensor(record: PrunedRecord | CarriedRecord) -> dict[str, Any]:
    known = outline(record)
    width = dtype_named(record.dtype).itemsize
    plain = {
        "name": record.name,
        "status": known.status,
        "shape": list(record.shape),
        "dtype": record.dtype,
        "entries": known.entries,
        "retained": known.retained,
        "reason": known.reason or "",
        "size_dense": known.entries * width,
    }
    if isinstance(record, PrunedRecord):
        raw = record.values.coding == "raw"
        values = known.retained * width if raw else sum(record.values.lengths)
        plain |= {
            "mask_coding": record.mask.coding,
            "values_coding": record.values.coding,
            "size_mask": record.mask.length,
            "size_values": values,
            "pretrained": record.pretrained.name,
            "pretrained_fingerprint": record.pretrained.fingerprint,
            "fine_tuned_fingerprint": record.fine_tuned,
            "result_fingerprint": record.result,
        }
    return plain


def _model_text(model: dict[str, Any]) -> str:
    origin = Provenance(**model).origin
    return (
        f"{model['source']}: {model['tensors']} tensors, {model['entries']:,} entries, "
        f"fingerprint {model['fingerprint']}{f'; {origin}' if origin else ''}"
    )


def _relation_text(relation: dict[str, Any] | None) -> str:
    if relation is None:
        return "not recorded"
    return str(Relation(**{name: value for name, value in relation.items() if name != "size"}))


def _size(count: int) -> str:
    """Bytes as people write them: 1 MB is a million.

    >>> _size(999), _size(19_535_715)
    ('999 bytes', '19.5 MB')
    """
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"
