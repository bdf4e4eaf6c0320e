"""Measure what a newcomer waits for: `kinema --help`, and a whole cold `kinema generate`, process to file.

python benchmarks/start.py [--rounds N] > benchmarks/start_MACHINE_DATE.md

Every line is processes of their own, started in turn, so that all meet the same machine; the two lines that are not
ours show what Python and importing torch take by themselves. Files are in the system's cache after the first round,
which is not counted. Memory is the most that a process held, with its children.
"""

import argparse
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

PROMPT = "a red ball rolls to the right"


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "ball.mp4")
        commands = {
            "`python -c pass`": [sys.executable, "-c", "pass"],
            "`python -c 'import torch'`": [sys.executable, "-c", "import torch"],
            "`kinema --help`": [sys.executable, "-m", "kinema", "--help"],
            "`kinema generate`, 2 s of `mini`": [
                *(sys.executable, "-m", "kinema", "generate", PROMPT),
                *("--model", "mini", "--seconds", "2", "--out", out, "--force"),
            ],
        }
        taken = [{name: _run(command) for name, command in commands.items()} for _ in range(1 + rounds)][1:]
    from cpu_ops import commit, cpu_name  # torch comes in only now: a child counts what its parent held when it forked

    busy = " (busy: do not commit these figures)" if load > 0.5 else ""
    print("# From a command to its result\n")
    print(f"- command: `python {shlex.join(sys.argv)}`, commit {commit()}, {time.strftime('%Y-%m')}")
    print(f"- {cpu_name()}, {os.cpu_count()} logical cores")
    print(f"- Python {platform.python_version()}, torch {version('torch')}")
    print(f"- load when it began: {load:.1f}{busy}")
    print(f"- medians of {rounds} rounds; the longest in brackets\n")
    print("| | seconds | peak memory |\n|---|---:|---:|")
    for name in commands:
        seconds = [each[name][0] for each in taken]
        memory = statistics.median(each[name][1] for each in taken)
        print(f"| {name} | {statistics.median(seconds):.2f} ({max(seconds):.2f}) | {memory / 1e6:.0f} MB |")


def _run(command: list[str]) -> tuple[float, float]:
    """Seconds from start to end, and the peak resident memory in bytes."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{shlex.join(command)} ended with {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
