"""What machine code asks of a multiprocessor, as NVIDIA's assembler tells it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mncc.library.nvcc import FLAGS, Nvcc
from mncc.library.toolchain import run_tool

_KERNEL = re.compile(
    r"Compiling entry function '(?P<symbol>\w+)' for '(?P<architecture>sm_\w+)'\n"
    r".*\n\s*(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads\n"
    r".*Used (?P<registers>\d+) registers(?:.*?(?P<shared>\d+) bytes smem)?"
)


@dataclass(frozen=True)
class KernelUse:
    """Of one kernel: registers of a thread, bytes of its stack, bytes of spilled registers stored and loaded, static
    shared memory of a block."""

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int


def kernel_uses(
    source: str, architectures: Sequence[str], nvcc: Nvcc
) -> Mapping[tuple[str, str], KernelUse]:  # fmt: skip
    """(architecture, symbol) -> what the kernel uses there. Raises OutsideError where nvcc does not know an
    architecture or refuses the source."""
    nvcc.check(architectures)
    codes = [(name.removeprefix("sm_"), name) for name in architectures]
    options = [f"-gencode=arch=compute_{compute},code={code}" for compute, code in codes]
    with tempfile.TemporaryDirectory(prefix="mncc") as folder:
        path = Path(folder)
        (path / "kernels.cu").write_text(source, encoding="utf-8")
        command = [*nvcc.command, "-fatbin", *FLAGS, "-Xptxas=-v", *options, "-o", "kernels.fatbin", "kernels.cu"]
        said = run_tool("compiling the kernels", command, path, errors=True)
    return {
        (found["architecture"], found["symbol"]): KernelUse(
            int(found["registers"]),
            int(found["stack"]),
            int(found["stores"]),
            int(found["loads"]),
            int(found["shared"] or 0),
        )
        for found in _KERNEL.finditer(said)
    }
