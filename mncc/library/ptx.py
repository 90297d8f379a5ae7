"""The inner loops of GPU kernels, as NVIDIA's compiler leaves them in PTX."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mncc.library.nvcc import FLAGS, Nvcc
from mncc.library.toolchain import run_tool

_ENTRY = re.compile(r"\.entry (\w+)\(")
_LABEL = re.compile(r"(\$L\w+):")
_BRANCH = re.compile(r"(?:@!?%p\d+ )?bra(?:\.uni)?\s+(\$L\w+);")
_INSTRUCTION = re.compile(r"(?:@!?%p\d+ )?([a-z]\w*(?:\.\w+)*)[\s;]")


@dataclass(frozen=True)
class Loop:
    """Instructions of a loop's body: all, multiply-adds, loads of shared and of global memory, and how many of these
    are of 128 bits."""

    instructions: int = 0
    multiplies: int = 0
    shared: int = 0
    shared_wide: int = 0
    loaded: int = 0
    loaded_wide: int = 0

    @property
    def share(self) -> float:
        """Of the multiply-adds among all instructions."""
        return self.multiplies / self.instructions if self.instructions else 0.0


def ptx_of(source: str, architecture: str, nvcc: Nvcc) -> str:
    """The PTX of a source. Raises OutsideError where nvcc does not know the architecture or refuses the source."""
    nvcc.check([architecture])
    with tempfile.TemporaryDirectory(prefix="mncc") as folder:
        path = Path(folder)
        (path / "kernels.cu").write_text(source, encoding="utf-8")
        command = [*nvcc.command, "-ptx", *FLAGS, f"-arch={architecture}", "-o", "kernels.ptx", "kernels.cu"]
        run_tool("compiling the kernels", command, path)
        return (path / "kernels.ptx").read_text(encoding="utf-8")


def hottest_loops(ptx: str) -> Mapping[str, Loop]:
    """Symbol -> of the innermost loops of the kernel the one with the most multiply-adds, or all of a kernel that has
    no loop."""
    starts = [*_ENTRY.finditer(ptx)]
    ends = [found.start() for found in starts[1:]] + [len(ptx)]
    return {found[1]: _hottest(ptx[found.end() : end].splitlines()) for found, end in zip(starts, ends, strict=True)}


def _hottest(lines: list[str]) -> Loop:
    labels = {found[1]: number for number, line in enumerate(lines) if (found := _LABEL.match(line.strip()))}
    spans = []
    for number, line in enumerate(lines):
        found = _BRANCH.match(line.strip())
        if found and labels[found[1]] < number:
            spans.append((labels[found[1]], number + 1))
    inner = [a for a in spans if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in spans)]
    bodies = [_counted(lines[begin:end]) for begin, end in inner] or [_counted(lines)]
    return max(bodies, key=lambda loop: loop.multiplies)


def _counted(lines: list[str]) -> Loop:
    names = [found[1] for line in lines if (found := _INSTRUCTION.match(line.strip()))]
    shared = [name for name in names if name.startswith("ld.shared")]
    loaded = [name for name in names if name.startswith("ld.global")]
    return Loop(
        len(names),
        sum(name.startswith("fma.") for name in names),
        len(shared),
        sum(".v4." in name for name in shared),
        len(loaded),
        sum(".v4." in name for name in loaded),
    )
