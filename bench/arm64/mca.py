"""llvm-mca on the loops that run most: cycles that LLVM's model of a processor takes for a round.

The model knows how long instructions take, which of its units they need, and in what order they may go; it knows no
caches, and all memory is in the first. It ranks loops, and is no time.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.arm64.loops import Loop
from mncc.language.diagnostic import OutsideError
from mncc.library.toolchain import run_tool

RELEASES = (22, 21, 20, 19, 18, 17, 16)
"""Of LLVM: the same as TVM's first. Older ones have no model of their own for Neoverse N1."""
_ROUNDS = 200
_GOAL = re.compile(r"#?0x[0-9a-f]+$")
_PEAK = tuple(f"fmla v{register}.4s, v0.4s, v1.4s" for register in range(8, 32))
"""Sums that wait for nothing but themselves."""


@dataclass(frozen=True)
class Modelled:
    """A loop, the kernels that it is in, and the cycles that a round takes in a model."""

    loop: Loop
    kernels: tuple[str, ...]
    cycles: float


def find_tool() -> str:
    """The newest llvm-mca that is installed. Raises OutsideError."""
    found = next((name for n in RELEASES if shutil.which(name := f"llvm-mca-{n}")), None)
    if found is None:
        names = f"llvm-mca-{RELEASES[0]} to llvm-mca-{RELEASES[-1]}"
        raise OutsideError(f"none of {names} is installed", f"Debian: apt-get install llvm-{RELEASES[0]}")
    return found


def version(tool: str) -> str:
    """`LLVM 22.1.8`. Raises OutsideError."""
    said = re.search(r"LLVM version (\S+)", run_tool("asked for its version", [tool, "--version"], Path.cwd()))
    return f"LLVM {said[1]}" if said else tool


def cycles_of(code: Sequence[str], cpu: str, tool: str) -> float:
    """Cycles that a round of a loop takes when it runs many times; `cpu` is LLVM's name. Raises OutsideError."""
    with tempfile.TemporaryDirectory(prefix="mncc-mca-") as folder:
        source = Path(folder, "loop.s")
        source.write_text("loop:\n" + "".join(f"{_local(text)}\n" for text in code), encoding="utf-8")
        command = [tool, "-mtriple=aarch64-linux-gnu", f"-mcpu={cpu}", f"-iterations={_ROUNDS}", "-json", str(source)]
        answer = json.loads(run_tool("modelling a loop", command, Path(folder)))
    return answer["CodeRegions"][0]["SummaryView"]["TotalCycles"] / _ROUNDS


@cache
def peak_of(cpu: str, tool: str) -> float:
    """Vector multiplications a cycle where there is nothing else. Raises OutsideError."""
    return len(_PEAK) / cycles_of(_PEAK, cpu, tool)


def _local(text: str) -> str:
    """The instruction, its goal, where it jumps, a name instead of an address that may lie too far away."""
    name = text.split()[0]
    jumps = name.startswith(("b.", "cb", "tb")) or name == "b"
    return _GOAL.sub("loop", text) if jumps else text
