"""What a row costs: `ken.prune` in memory, k = n/2, beside torch.topk of the same rows; one thread."""

from __future__ import annotations

from collections.abc import Iterator

import rows

from whole.lines import Line, Setting, line
from whole.measuring import inside

GROUP = "One row, k = n/2, one thread"


def measure(setting: Setting) -> Iterator[Line]:
    for n in (384, 1024, 4096):
        for dtype, width in (("float32", 4), ("bfloat16", 2)):
            samples = inside("rule", setting.rounds, cores=1, n=n, dtype=dtype)
            many = rows.ENTRIES // n
            # Both tensors come in; half the values and the mask go out.
            floor = setting.floor(int(many * n * (2.5 * width + 1 / 8)))
            for rule, aim in (("ken", "0.9 of topk"), ("update", "0.9 of topk")):
                yield line(
                    GROUP,
                    f"rule `{rule}`, {n:,} entries, {dtype}",
                    f"rule {rule}",
                    own=samples[rule],
                    peer=samples["topk"],
                    scale=1e6 / many,
                    unit="µs",
                    floor=1e6 * floor / many,
                    aim=aim,
                )
