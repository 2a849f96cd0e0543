"""Four thousand hostile files; `make fuzz` tries a million."""

import subprocess
import sys
from pathlib import Path


def test_no_hostile_file_does_more_than_be_refused():
    """In a process of its own, whose memory is that of the attempt alone."""
    script = Path(__file__).parents[1] / "fuzz.py"
    done = subprocess.run(
        [sys.executable, script, "--count", "4000"], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "4,000 files, seed 0" in done.stdout
    ends = {line.split()[0]: line.split() for line in done.stdout.splitlines() if "refused" in line}
    assert len(ends) == 14
    for kind, (_, refused, _, accepted, _) in ends.items():
        assert (refused == "0") == (kind == "same"), kind
        assert kind != "same" or accepted == "4"
