"""One reader under atheris, in a process of its own: a crash of a library is seen, and named.

Two turns. First inputs are made, guided by the branches that they reach; then those that reached
new ones are read again and again in a fresh process, without atheris, and memory is measured: what
grows there is the reader's.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import mmap
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from tests.fuzz.readers import Reader

_HANG_S = 20
_MEMORY_MIB = 3000
_SAMPLES = 40
_MIB = 1024 * 1024
_COUNTER_BYTES = 8
COUNTER = "counter"
"""File of a run's folder with the number of inputs that were read."""


def make(name: str, folder: Path, runs: int, number: int) -> None:
    """Make inputs; ends the process."""
    import atheris  # noqa: PLC0415  the second turn goes without

    reader = _reader(name)
    for function in _functions_of(reader.watched):
        atheris.instrument_func(function)
    counter = _counter(folder / COUNTER)

    def test(data: bytes) -> None:
        counter[:] = (int.from_bytes(counter[:], "little") + 1).to_bytes(_COUNTER_BYTES, "little")
        reader.read(data)

    options = {
        "runs": runs,
        "seed": number % 2**31 or 1,
        "max_len": reader.most_bytes,
        "timeout": _HANG_S,
        "rss_limit_mb": _MEMORY_MIB,
        "artifact_prefix": f"{folder}/found-",
        "verbosity": 1,
    }
    arguments = [sys.argv[0], str(folder / "corpus")]
    arguments += [f"-{option}={value}" for option, value in options.items()]
    if reader.checksummed:

        def change(data: bytes, most: int) -> bytes:
            # Looked up when it is called: before that it is another function.
            return atheris.Mutate(data, most)

        atheris.Setup(arguments, test, custom_mutator=_mutator(change))
    else:
        atheris.Setup(arguments, test)
    atheris.Fuzz()


def _mutator(change: Callable[[bytes, int], bytes]) -> Callable[[bytes, int, int], bytes]:
    from tests.fuzz.mutation import restored  # noqa: PLC0415

    def mutate(data: bytes, most: int, number: int) -> bytes:
        made = change(data, most)
        return restored(made)[:most] if number % 5 else made

    return mutate


def _functions_of(watched: Sequence[str]) -> Iterator[FunctionType]:
    """Every function and method of modules, those of their submodules too."""
    for name in watched:
        importlib.import_module(name)
    for name, module in list(sys.modules.items()):
        if any(name == one or name.startswith(f"{one}.") for one in watched):
            for value in vars(module).values():
                for found in vars(value).values() if isinstance(value, type) else [value]:
                    inner = found.fget if isinstance(found, property) else found
                    if isinstance(inner, classmethod | staticmethod):
                        inner = inner.__func__
                    if isinstance(inner, FunctionType) and inner.__module__ == name:
                        yield inner


def read_again(name: str, folder: Path, runs: int, number: int) -> None:
    """Read the corpus again and again; prints the memory in between, in MiB."""
    reader = _reader(name)
    inputs = [file.read_bytes() for file in sorted((folder / "corpus").iterdir())]
    random.Random(number).shuffle(inputs)
    process = psutil.Process()
    samples = []
    for count, data in enumerate(itertools.islice(itertools.cycle(inputs), runs), start=1):
        reader.read(data)
        if count % max(1, runs // _SAMPLES) == 0:
            samples.append(process.memory_info().rss / _MIB)
    print(json.dumps(samples))


def read_one(name: str, file: Path) -> None:
    """Read one input: what it raises is seen, and how long it takes."""
    start = time.monotonic()
    _reader(name).read(file.read_bytes())
    print(f"{name}: nothing is wrong with {file} ({time.monotonic() - start:.2f} s)")


def _reader(name: str) -> Reader:
    module, _, reader = name.partition(":")
    return importlib.import_module(module).READERS[reader]


def count_of(file: Path) -> int:
    """Inputs that were read, also where the process died."""
    counter = _counter(file)
    return int.from_bytes(counter[:], "little")


def _counter(file: Path) -> mmap.mmap:
    if not file.exists():
        file.write_bytes(b"\0" * _COUNTER_BYTES)
    with file.open("r+b") as stream:
        return mmap.mmap(stream.fileno(), _COUNTER_BYTES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("turn", choices=("make", "read-again", "read-one"))
    parser.add_argument("name", help="MODULE:READER")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    match options.turn:
        case "make":
            make(options.name, options.folder, options.runs, options.seed)
        case "read-again":
            read_again(options.name, options.folder, options.runs, options.seed)
        case "read-one":
            read_one(options.name, options.folder)


if __name__ == "__main__":
    main()
