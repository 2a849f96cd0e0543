"""A pair of checkpoints larger than the memory it takes to prune it: time, and the most memory, of every step.

Usage: python benchmarks/large.py [--folder DIR] [--model bloom|llama] [--layers N] [--share K]

The pair has the shapes of BLOOM-1b7 (24 layers, 1,722 million entries) or of Llama-3-8B (32 layers, 8,030 million): two
folders of sharded bfloat16, 3.4 or 16 GB each, made here of random numbers once and kept in the folder for the next run
(default: ken-large). Then `ken prune`,
`ken info`, `ken verify` and `ken inject` run from disk to disk, each in a process of its own. The most memory is what
the operating system says was resident at one time, files that were mapped included.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from tqdm.auto import tqdm

from ken.models.checkpoints.safetensors_file import Writer, stored_dtype
from ken.storage.atomic_files import replacing_folder

SHARD = 1 << 30  # bytes
STRETCH = 1 << 24  # entries made at a time


#: Class, and what its configuration says but for the layers; the name of their number, and how many there are.
MODELS = {
    "bloom": ("Bloom", {"vocab_size": 250_880, "hidden_size": 2048, "n_head": 16}, "n_layer", 24),
    "llama": (
        "Llama",
        {
            "vocab_size": 128_256,
            "hidden_size": 4096,
            "intermediate_size": 14_336,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
        },
        "num_hidden_layers",
        32,
    ),
}


def shapes(layers, *, model="bloom"):
    """Names and shapes of the tensors, without their values; tied ones once."""
    import transformers

    name, settings, layers_are, _ = MODELS[model]
    config = getattr(transformers, f"{name}Config")(**settings, **{layers_are: layers})
    config.architectures = [f"{name}ForCausalLM"]
    with torch.device("meta"):
        model = getattr(transformers, f"{name}ForCausalLM")(config)
    return config, {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def values(seed, tensor, entries, fine_tuned):
    """The same for every run: pretrained numbers, and for the fine-tuned model a small change of each."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + tensor)
    for start in range(0, entries, STRETCH):
        count = min(STRETCH, entries - start)
        part = torch.randn(count, generator=generator) * 0.02
        change = torch.randn(count, generator=generator) * 0.0005
        yield (part + change if fine_tuned else part).to(torch.bfloat16)


def make(folder, layers, fine_tuned, *, model="bloom"):
    """A checkpoint folder as `save_pretrained` writes it, without ever having the model in memory."""
    config, tensors = shapes(layers, model=model)
    shards, size = [[]], 0
    for number, (name, shape) in enumerate(tensors.items()):
        entries = torch.Size(shape).numel()
        if shards[-1] and size + 2 * entries > SHARD:
            shards.append([])
            size = 0
        shards[-1].append((number, name, shape, entries))
        size += 2 * entries
    total = sum(entries for shard in shards for *_, entries in shard)
    weight_map = {}
    with replacing_folder(folder) as part, tqdm(total=total, desc=f"make {folder.name}", unit_scale=True) as bar:
        config.save_pretrained(part)
        for place, shard in enumerate(shards, 1):
            file_name = f"model-{place:05d}-of-{len(shards):05d}.safetensors"
            with (part / file_name).open("wb") as file:
                writer = Writer(file, {name: shape for _, name, shape, _ in shard}, {"format": "pt"})
                for number, name, shape, entries in shard:
                    stretches = values(0, number, entries, fine_tuned=fine_tuned)
                    parts = (stretch.view(torch.uint8).numpy().data for stretch in stretches)
                    writer.add(name, stored_dtype(torch.bfloat16), shape, parts=parts)
                    weight_map[name] = file_name
                    bar.update(entries)
                writer.finish({"format": "pt"})
        index = {"metadata": {"total_size": 2 * total}, "weight_map": weight_map}
        (part / "model.safetensors.index.json").write_text(json.dumps(index))


# The most memory is read in the process itself, as the last thing it does: what a child passes on to its parent is
# that of its largest ancestor too, before it was replaced.
STEP = """
import re, resource, sys, time
from pathlib import Path
from ken.cli import app
start = time.perf_counter()
try:
    app()
except SystemExit as done:
    assert not done.code, done.code
status = Path("/proc/self/status")
peak = int(re.search(r"VmHWM:\\s*(\\d+)", status.read_text())[1]) if status.exists() else 0
print("PEAK", peak << 10 or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter() - start)
"""


def step(*arguments):
    """Run `ken` with these arguments; seconds and bytes."""
    command = [sys.executable, "-c", STEP, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    _, peak, seconds = re.search(r"^(PEAK) (\d+) (\S+)$", done.stdout, re.MULTILINE).groups()
    return float(seconds), int(peak)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("ken-large"))
    parser.add_argument("--model", choices=list(MODELS), default="bloom")
    parser.add_argument("--layers", type=int, help="by default all that the model has")
    parser.add_argument("--share", type=float, default=0.5)
    options = parser.parse_args()
    layers = options.layers or MODELS[options.model][-1]
    folder = options.folder / ("" if options.model == "bloom" else options.model) / f"{layers}-layers"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("pretrained", "fine-tuned"):
        if not (folder / name).exists():
            make(folder / name, layers, name == "fine-tuned", model=options.model)
    pretrained, fine_tuned, net = folder / "pretrained", folder / "fine-tuned", folder / "net.ken.safetensors"
    dense = sum(path.stat().st_size for path in fine_tuned.glob("*.safetensors"))
    injected = folder / "injected"
    shutil.rmtree(injected, ignore_errors=True)
    print(f"dense: {dense / 1e9:.2f} GB each; share {options.share}")
    for name, *arguments in (
        ("prune", fine_tuned, pretrained, "-k", options.share, "-o", net),
        ("info", net),
        ("verify", net, pretrained),
        ("inject", net, pretrained, "-o", injected),
    ):
        seconds, peak = step(name, *arguments)
        print(f"ken {name:8} {seconds:7.1f} s   {peak / 1e9:5.2f} GB resident at most", flush=True)
    print(f"file: {net.stat().st_size / 1e9:.2f} GB")
    shutil.rmtree(injected)


if __name__ == "__main__":
    main()
