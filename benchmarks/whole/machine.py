"""The computer that is measured on, and what its memory and its disk give, in the same run."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

_BYTES = 1 << 28


@dataclass(frozen=True)
class Machine:
    """date; processor; cores; memory: bytes a second that one thread reads and writes in copying; read, write: bytes
    a second from the disk, nothing of them being in memory, and to it, until it says that they are there.
    """

    date: str
    processor: str
    cores: int
    versions: str
    memory: float
    read: float
    write: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """A line about it."""
        return (
            f"{self.date}; {self.processor}, {self.cores} cores; {self.versions}; memory {self.memory / 1e9:.1f} GB/s "
            f"copied by one thread, disk {self.read / 1e9:.2f} GB/s read, {self.write / 1e9:.2f} GB/s written"
        )


def machine(folder: Path, rounds: int = 3) -> Machine:
    """This one; its disk is that of the folder."""
    import numba
    import torch

    written, read = zip(*(_disk(folder) for _ in range(rounds)), strict=True)
    return Machine(
        date=time.strftime("%-d %B %Y"),
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        versions=f"Python {platform.python_version()}, numpy {np.__version__}, torch {torch.__version__}, "
        f"numba {numba.__version__}",
        memory=max(_memory(2 * rounds)),  # a floor is what nothing else held up
        read=max(read),
        write=max(written),
    )


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    name = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor())
    wide = any(line.startswith("flags") and " avx512f " in line for line in lines)
    return f"{name} {'with' if wide else 'without'} AVX-512"


def _memory(rounds: int) -> list[float]:
    source, target = np.ones(_BYTES, np.uint8), np.ones(_BYTES, np.uint8)
    speeds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        target[:] = source
        speeds.append(2 * _BYTES / (time.perf_counter() - begun))
    return speeds


def _disk(folder: Path) -> tuple[float, float]:
    """Bytes a second written, and read again."""
    path, data = folder / "disk", os.urandom(1 << 24)
    try:
        begun = time.perf_counter()
        with path.open("wb") as file:
            for _ in range(_BYTES // len(data)):
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        written = _BYTES / (time.perf_counter() - begun)
        with path.open("rb", buffering=0) as file:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            begun = time.perf_counter()
            while file.read(len(data)):
                pass
        return written, _BYTES / (time.perf_counter() - begun)
    finally:
        path.unlink(missing_ok=True)
