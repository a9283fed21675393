#!/usr/bin/env python3
"""Makes the golden files of the tests, with independent implementations: python tools/golden.py [ROOM ...]

Every module in tools/golden/ has make(out), which writes into the folder `out` (tests/golden) and records the versions of
what it used in the metadata of its file; one that builds on another has it by load. The tests themselves need no Python."""
import importlib.util
import pathlib
import sys

here = pathlib.Path(__file__).resolve().parent


def load(name):
    """The module of a room, under a name that hides no other: some are called as libraries are (pickle, tokenizer)."""
    spec = importlib.util.spec_from_file_location(name + "_golden", here / "golden" / (name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    out = here.parent / "tests" / "golden"
    out.mkdir(exist_ok=True)
    for path in sorted((here / "golden").glob("*.py")):
        if sys.argv[1:] and path.stem not in sys.argv[1:]:
            continue
        module = load(path.stem)
        print(path.stem, flush=True)
        module.make(out)


if __name__ == "__main__":
    main()
