"""Run Python code in a process of its own, and leave the most memory it had: launch.py PEAK (CODE | FILE.py) ARGUMENTS.

The most memory is read in the process itself, as the last thing it does: what the operating system tells its parent
is that of the parent too, before it was replaced.
"""

import atexit
import re
import resource
import runpy
import sys


def _leave(path: str) -> None:
    try:
        with open("/proc/self/status", encoding="utf-8") as status:  # noqa: PTH123 - no library is loaded for it
            peak = int(re.search(r"VmHWM:\s*(\d+)", status.read())[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(str(peak << 10))


if __name__ == "__main__":
    _, place, code, *arguments = sys.argv
    atexit.register(_leave, place)
    sys.argv = [code, *arguments]
    if code.endswith(".py"):
        sys.path[0] = code.rpartition("/")[0]
        runpy.run_path(code, run_name="__main__")
    else:
        del sys.path[0]
        exec(compile(code, "<code>", "exec"), {"__name__": "__main__"})
