#!/usr/bin/env python3
"""What a model of full size takes of the memory, and whether it keeps to what --memory says.

memory.py LATINO MODEL [--size 512] [--threads 2] [--steps 1] [--memory 1.2G]...

LATINO is the program, MODEL a diffusers folder (random weights will do). Restores a photograph of the repository, enlarged to
size x size and given noise, by STEPS steps of `latino`: once in the fast setting and once within each MEMORY. Prints seconds and
the largest resident set of each process; exits with 1 if one is above what it was allowed."""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("latino", type=pathlib.Path)
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("--size", type=int, default=512)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--steps", type=int, default=1)
    p.add_argument("--memory", action="append", metavar="SIZE", help="as --memory of latino; may be given more than once")
    o = p.parse_args()
    o.memory = o.memory or ["1.2G"]
    return o


def run(*command):
    """Seconds, and the largest resident set in bytes."""
    start = time.time()
    p = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL)
    _, p.returncode, usage = os.wait4(p.pid, 0)
    if p.returncode:
        sys.exit(f"{command[0]} {command[1]}: failed")
    return time.time() - start, usage.ru_maxrss * 1024


def restore(o, folder, memory):
    y, x = folder / "y.png", folder / "x.png"
    if not y.exists():
        run(o.latino, "degrade", ROOT / "examples/photos/chelsea.png", "-o", y, "--fit", o.size, "--degradation", "identity",
            "--noise", "gaussian:sigma=.1", "--seed", 1)
    return run(o.latino, "restore", y, "-o", x, "--degradation", "identity", "--sigma", .1, "--model", o.model, "--threads", o.threads,
               "--prompt", "a cat", "--solver", f"latino:steps={o.steps}", *(["--memory", memory] if memory else []))


def bytes_of(size):
    """As latino reads it: units of 1,000."""
    return float(size.rstrip("KMG")) * 1000 ** (1 + "KMG".find(size[-1]))


def main():
    o, over = options(), False
    print(f"| {o.size} x {o.size}, steps: {o.steps} | s | resident, MB (10^6) |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for memory in [None, *o.memory]:
            seconds, peak = restore(o, pathlib.Path(folder), memory)
            above = bool(memory) and peak > bytes_of(memory)
            over |= above
            print(f"| {'--memory ' + memory if memory else 'fast'} | {seconds:.1f} | {peak / 1e6:,.0f}{' ABOVE' if above else ''} |", flush=True)
    sys.exit(over)


main()
