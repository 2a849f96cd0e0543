"""The report of the demonstration pair, and of a pair of BERT-large's size: how large, how long, how much memory.

Usage: python benchmarks/report.py [--folder DIR] [--share K] [--only demo|large]

The large pair has the shapes of BERT-large with a head of two labels (335 million entries in float32): two folders of
1.3 GB each, made here of random numbers once and kept in the folder for the next run (default: ken-report). `ken prune`
and `ken report` run from disk to disk, each in a process of its own, the report with a second subnetwork to compare
with and without. The seconds are those of the whole command, the imports of its libraries included. The most memory is
what the operating system says was resident at one time, files that were mapped included.

Limits: the report of the demonstration pair under 6 MB and 10 s, that of the large one under 12 MB and 90 s.
"""

import argparse
from pathlib import Path

import torch
from large import step
from safetensors.torch import save_file
from tqdm.auto import tqdm

import ken.demo
from ken.storage.atomic_files import replacing_folder

LIMITS = {"demo": (6e6, 10), "large": (12e6, 90)}


def make(folder):
    """Both models as checkpoint folders: random numbers, and a small change of each."""
    import transformers

    config = transformers.BertConfig(
        vocab_size=30522,
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        architectures=["BertForSequenceClassification"],
    )
    with torch.device("meta"):
        model = transformers.BertForSequenceClassification(config)
    for name in ("pretrained", "fine-tuned"):
        generator, change = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
        state = {}
        for key, parameter in tqdm(list(model.named_parameters()), desc=f"make {name}"):
            value = torch.randn(parameter.shape, generator=generator) * 0.02
            if name == "fine-tuned":
                value += torch.randn(parameter.shape, generator=change) * 0.0005
            if name == "fine-tuned" or not key.startswith("classifier"):
                state[key] = value
        with replacing_folder(folder / name) as part:
            config.save_pretrained(part)
            save_file(state, part / "model.safetensors", {"format": "pt"})


def line(name, what, seconds, peak, written=None):
    size, time = LIMITS[name]
    file = " " * 10 if written is None else f"{written / 1e6:7.2f} MB"
    over = written is not None and not (written < size and seconds < time)
    verdict = f"   over the limit of {size / 1e6:.0f} MB and {time} s" if over else ""
    print(f"{name:6} {what:35} {seconds:7.1f} s  {file}  {peak / 1e9:5.2f} GB resident at most{verdict}", flush=True)


def measure(name, pretrained, fine_tuned, folder, share):
    nets = {rule: folder / f"{name}-{rule}.ken.safetensors" for rule in ("ken", "random")}
    for rule, net in nets.items():
        line(name, f"ken prune, {rule}", *step("prune", fine_tuned, pretrained, "-k", share, "--rule", rule, "-o", net))
    out = folder / f"{name}.html"
    for title, options in (("ken report", []), ("ken report, compared with another", ["--compare", nets["random"]])):
        measured = step("report", nets["ken"], fine_tuned, pretrained, "-o", out, *options)
        line(name, title, *measured, out.stat().st_size)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("ken-report"))
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--only", choices=list(LIMITS))
    options = parser.parse_args()
    folder = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    if options.only != "large":
        pair = ken.demo.pair()
        measure("demo", pair.pretrained_path, pair.fine_tuned_path, folder=folder, share=options.share)
    if options.only != "demo":
        if not (folder / "fine-tuned").exists():
            make(folder)
        measure("large", folder / "pretrained", folder / "fine-tuned", folder=folder, share=options.share)


if __name__ == "__main__":
    main()
