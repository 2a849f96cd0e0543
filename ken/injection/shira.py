"""export_adapter: a subnetwork as an adapter of PEFT's kind SHiRA, if that gives the same bits; else an error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.errors import PairingError, SubnetworkError
from ken.injection.inject import find_places, merge
from ken.injection.shira_layers import SparseLayer, best_r, is_sparse, sparse_layer
from ken.models.adapters import skeleton
from ken.models.adapters.sources import ADAPTER_WEIGHTS
from ken.models.checkpoints.checkpoint import Checkpoint, Source, read
from ken.models.pairing.pairing import open_pair
from ken.models.tensors.tensor_bytes import bits_of, fingerprint
from ken.storage.atomic_files import replacing_folder
from ken.storage.file_kinds import FOLDER
from ken.storage.outputs import check_outputs
from ken.subnetwork.retained_tensor import RetainedTensor
from ken.subnetwork.subnetwork import SubnetworkData

if TYPE_CHECKING:
    import torch

_FRONT = "base_model.model."


def export_adapter(net: SubnetworkData, pretrained: Source, folder: str | Path) -> Path:
    """Write the injected model as an adapter of the pretrained one: PEFT's SHiRA, of sparse differences.

    SHiRA adds differences to the weights of linear layers, the same number r (rows + columns) in each. What it cannot
    give bit for bit, or only in more bytes, is saved whole (`modules_to_save`): heads, embeddings, norms, and layers
    of which most was changed. In float32 a sum cannot reach some values, such as many with another sign than
    before, and their layers are saved whole, too. The adapter is opened on the pretrained model and compared; it gets
    its name only if no bit differs. PEFT can read it, and it stands for the fine-tuned model wherever ken takes one.

    Args:
        net: The subnetwork, of a transformers model: with the rule `changed` the adapter is the fine-tuned model.
        pretrained: The pretrained model: a folder or hub id, which the adapter then names as its base, or a module.
        folder: The new folder; it must not exist yet, or be empty.

    Returns:
        The folder.

    Raises:
        PairingError: peft is not installed.
        SubnetworkError: The pretrained model is another; the model's class is not known; no linear layer is sparsely
            changed; or what PEFT would make of the adapter differs, which names the tensor.
        OutputError: The folder lies inside that of the pretrained model.
        FileExistsError: There is something in the folder already.

    Example:
        >>> import tempfile, torch, transformers, ken
        >>> config = transformers.BertConfig(
        ...     vocab_size=9, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
        ... )
        >>> base, tuned = (transformers.BertModel(config) for _ in range(2))
        >>> _ = tuned.load_state_dict(base.state_dict())
        >>> tuned.encoder.layer[0].attention.self.query.weight.data[0, 0] += 1
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     adapter = export_adapter(ken.prune(tuned, base, rule="changed"), base, Path(parent) / "adapter")
        ...     ken.diff(adapter, base, progress=False).changed
        1
    """
    try:
        import peft
    except ImportError:
        raise PairingError(
            "to write an adapter takes peft, which is not installed: pip install 'kenviz[peft]'"
        ) from None
    check_outputs([(folder, FOLDER)], {"the subnetwork": net, "the pretrained model": pretrained})
    if net.architecture is None:
        raise SubnetworkError("an adapter needs the class of its model, which this subnetwork does not know")
    theirs = read(pretrained)
    inner = skeleton.skeleton(net.architecture.class_name, net.architecture.config)
    sparse, biases, whole = _parts(net, theirs, inner)
    r = best_r([*sparse.values()])
    kept = {name: layer for name, layer in sparse.items() if is_sparse(layer, r)}
    layers = [name.rpartition(".")[0] for name in kept]
    whole |= {name.rpartition(".")[0] for name in (sparse.keys() - kept.keys()) | biases.keys()} - {*layers}
    if not kept:
        raise SubnetworkError(
            "no linear layer is changed so sparsely that a SHiRA adapter would hold it in fewer bytes than whole, "
            "without a loss; ken.export writes the model"
        )
    tensors = {f"{_FRONT}{name}": tensor for name, tensor in _whole(net, theirs, inner, modules=whole)}
    # As PEFT saves biases that were trained beside an adapter.
    tensors |= {
        f"{_FRONT}{layer}.base_layer.bias": biases[f"{layer}.bias"] for layer in layers if f"{layer}.bias" in biases
    }
    for name, layer in kept.items():
        module = f"{_FRONT}{name.rpartition('.')[0]}"
        tensors[f"{module}.shira_indices"], tensors[f"{module}.shira_weight"] = layer.tensors(r)
    settings = peft.ShiraConfig(
        r=r,
        mask_type="changed",  # type: ignore[arg-type]
        target_modules=layers,
        modules_to_save=sorted(whole) or None,
        inference_mode=True,
        base_model_name_or_path=str(pretrained) if isinstance(pretrained, str | Path) else None,
        auto_mapping={"base_model_class": type(inner).__name__, "parent_library": type(inner).__module__},
    )
    with replacing_folder(folder) as part:
        from safetensors.torch import save_file

        save_file(tensors, part / ADAPTER_WEIGHTS[0], metadata={"format": "pt"})
        settings.save_pretrained(str(part))
        _check(net, part, pretrained)
    return Path(folder)


def _parts(
    net: SubnetworkData, theirs: Checkpoint, inner: torch.nn.Module
) -> tuple[dict[str, SparseLayer], dict[str, torch.Tensor], set[str]]:
    """The weights that differences can reach, the biases of linear layers, and the modules of all else that changed."""
    import torch

    places = find_places(net, theirs)
    names = {name: module for module in dict(inner.named_modules()) for name in _own(inner, module)}
    layers: dict[str, SparseLayer] = {}
    biases: dict[str, torch.Tensor] = {}
    whole: set[str] = set()
    for name in net:
        place = places[name]
        merged = merge(net, name, theirs, place=place)
        base = None if place is None else theirs.whole(place)
        same_kind = base is not None and (base.shape, base.dtype) == (merged.shape, merged.dtype)
        if same_kind and bool((_bits(merged) == _bits(base)).all()):
            continue
        module = names.get(name)
        if not module:
            raise SubnetworkError(
                f"{name} was changed, and no part of {type(inner).__name__} that an adapter could hold has it"
            )
        linear = same_kind and type(inner.get_submodule(module)) is torch.nn.Linear
        layer = sparse_layer(merged, base) if linear and base is not None and name == f"{module}.weight" else None
        if layer is not None:
            layers[name] = layer
        elif linear and name == f"{module}.bias":
            biases[name] = merged.contiguous().clone()
        else:
            whole.add(module)
    return {name: layer for name, layer in layers.items() if names[name] not in whole}, biases, whole


def _own(inner: torch.nn.Module, module: str) -> list[str]:
    """The tensors that lie right in a module, by their whole names."""
    part = inner.get_submodule(module)
    return [f"{module}.{leaf}".lstrip(".") for leaf in (*part._parameters, *part._buffers)]


def _bits(tensor: torch.Tensor | None) -> Any:
    import numpy as np

    from ken.models.tensors.tensor_bytes import bytes_of

    assert tensor is not None
    return bits_of(tensor) if tensor.is_floating_point() else np.frombuffer(bytes_of(tensor), np.uint8)


def _whole(
    net: SubnetworkData, theirs: Checkpoint, inner: torch.nn.Module, modules: set[str]
) -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors of some modules as they are in the injected model, by name."""
    places: Mapping[str, str | None] = find_places(net, theirs)
    for module in sorted(modules):
        for name in inner.get_submodule(module).state_dict(prefix=f"{module}."):
            source = net.tied.get(name, name)
            if source not in net:
                raise SubnetworkError(f"{name} has to be saved with its module, and the subnetwork has no such tensor")
            yield name, merge(net, source, theirs, place=places[source]).contiguous().clone()


def _check(net: SubnetworkData, folder: Path, pretrained: Source) -> None:
    """Open the adapter as everybody would, and compare every tensor. Raises `SubnetworkError` if one differs."""
    opened, places = open_pair(folder, pretrained).fine_tuned, find_places(net, read(pretrained))
    for name in net:
        place = places[name] or name  # what the base has keeps the name that it has there
        place = place if place in opened.tensors else name
        stored = net[name]
        promised = stored.result if isinstance(stored, RetainedTensor) else fingerprint(stored.value)
        if place not in opened.tensors or opened.entries(place).fingerprint() != promised:
            raise SubnetworkError(
                f"{name}: what PEFT makes of the adapter is not, bit for bit, what the subnetwork holds; "
                "ken.export writes the model"
            )
