"""Memory does not grow with the size of a tensor: measured in a process of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

# The highest memory of the process itself (VmHWM): what was mapped from files counts, what a parent used does not.
STEPS = """
import re, sys
from pathlib import Path
import numpy as np, torch, transformers
import ken

def highest():
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) >> 10

folder = Path(sys.argv[1])
def steps(name, size):
    fine_tuned, pretrained = folder / f"{size}-ours.safetensors", folder / f"{size}-theirs.safetensors"
    net = ken.prune(fine_tuned, pretrained, 0.5, "grid", exclude=["carried"], out=folder / name, progress=False)
    ken.verify(net, pretrained, progress=False)
    ken.export(net, pretrained, folder / f"{name}-model", progress=False)

steps("warm", "small")
before = highest()
steps("net", "large")
print(highest() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells how much memory a process had")
def test_pruning_verifying_and_exporting_from_disk_take_little_memory_whatever_the_size(tmp_path):
    megabyte = 1 << 20
    for size, rows in (("small", 512), ("large", 64 * megabyte // 2048)):
        generator = torch.Generator().manual_seed(0)
        pretrained = {"pruned": torch.randn(rows, 2048, generator=generator).to(torch.bfloat16)}
        pretrained["carried"] = pretrained["pruned"].clone()
        fine_tuned = {name: (tensor * 1.01).to(torch.bfloat16) for name, tensor in pretrained.items()}
        save_file(pretrained, tmp_path / f"{size}-theirs.safetensors")
        save_file(fine_tuned, tmp_path / f"{size}-ours.safetensors")
    done = subprocess.run([sys.executable, "-c", STEPS, tmp_path], capture_output=True, text=True, check=True)
    # Two tensors of 128 MB in either model. The mask of one is 8 MB; what is compressed waits in up to 16 MB a plane.
    assert int(re.search(r"\d+", done.stdout)[0]) < 96
    from safetensors import safe_open

    with safe_open(tmp_path / "net-model" / "model.safetensors", "pt") as file:
        assert torch.equal(file.get_tensor("carried"), fine_tuned["carried"])
        kept = file.get_tensor("pruned") == fine_tuned["pruned"]
    assert (kept.sum(1) >= 1024).all()
