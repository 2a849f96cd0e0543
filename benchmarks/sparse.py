"""What changed, as a subnetwork file and as others store it: the table of docs/storing.md.

    python benchmarks/sparse.py [--steps N]

The MiniLM of the demo is fine-tuned on the spot for a few steps of 16 texts each, once in float32 and, with a small
learning rate, in bfloat16, as reinforcement learning does. Beside each other: the dense model; the file of rule
`changed`; indices (int32) and values of the changed entries of every tensor in a safetensors file; the same with zstd
around it; and the SHiRA adapter, where there is one.
"""

import argparse
import tempfile
from pathlib import Path

import torch
import transformers
import zstandard
from safetensors.torch import save_file

import ken
from ken.errors import SubnetworkError
from ken.evaluation.docstring_task import docstring_task

LEARNING_RATES = {torch.float32: 5e-5, torch.bfloat16: 5e-6}


def trained(source, folder, task, *, dtype, steps):
    """A classifier after so many steps of AdamW in that dtype, in a folder, and its base likewise."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    torch.manual_seed(0)
    base = transformers.AutoModel.from_pretrained(source, dtype=dtype)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        source, dtype=dtype, num_labels=len(task.label_names)
    )
    base.save_pretrained(folder / "base")
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATES[dtype], weight_decay=0.0)
    model.train()
    for step in range(steps):
        part = slice(16 * step, 16 * step + 16)
        batch = tokenizer(
            list(task.train_texts[part]), truncation=True, max_length=32, padding=True, return_tensors="pt"
        )
        model(**batch, labels=torch.tensor(task.train_labels[part])).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    model.save_pretrained(folder / "tuned")
    return folder / "tuned", folder / "base"


def indices_and_values(net, fine_tuned, path):
    """The changed entries of every tensor, and what is carried whole."""
    tensors = {}
    merged = ken.open_pair(fine_tuned, fine_tuned).fine_tuned
    for name in net:
        whole = merged.whole(name).clone()
        if name not in net.pruned():
            tensors[name] = whole
        elif net[name].retained:
            places = torch.from_numpy(net[name].mask().reshape(-1)).nonzero()[:, 0]
            tensors[f"{name}.idx"], tensors[f"{name}.val"] = places.to(torch.int32), whole.reshape(-1)[places].clone()
    save_file(tensors, path)
    return path.stat().st_size


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8)
    steps = parser.parse_args().steps
    task = docstring_task(progress=False)
    source = ken.demo.places()["the demonstration's pretrained model"]
    print("| pair | changed | dense | rule `changed` | index and value | the same, zstd | SHiRA |\n|" + "---|" * 7)
    for dtype in LEARNING_RATES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            tuned, base = trained(source, folder, task, dtype=dtype, steps=steps)
            path = folder / "net.ken.safetensors"
            net = ken.prune(tuned, base, rule="changed", out=path, progress=False)
            difference = ken.diff(tuned, base, progress=False)
            updates = indices_and_values(net, tuned, folder / "update.safetensors")
            packed = len(zstandard.compress((folder / "update.safetensors").read_bytes(), 3))
            try:
                adapter = ken.export_adapter(net, base, folder / "adapter")
                shira = f"{(adapter / 'adapter_model.safetensors').stat().st_size / 1e6:.2f}"
            except SubnetworkError as error:
                shira = f"refused: {error}"
            dense = (tuned / "model.safetensors").stat().st_size
            sizes = (dense, path.stat().st_size, updates, packed)
            cells = " | ".join(f"{size / 1e6:.2f}" for size in sizes)
            print(f"| {dtype}, {steps} steps | {100 * difference.share:.2f} % | {cells} | {shira} |", flush=True)


if __name__ == "__main__":
    main()
