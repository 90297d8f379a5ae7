"""What kernels ask of a GPU's memory, counted while they run on the CPU: sectors of global memory, words of the banks
of shared memory."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mncc.devices.cuda_on_cpu import HEADERS, CudaOnCpu

ORDER = 2
"""Of blocks and threads: random, and the same every time, so that the first blocks are a fair sample."""
_LOOP = re.compile(r"for \(int (\w+) = 0; \1 < \w+; \+\+\1\) \{")
_FLAGS = ("-O0", "-fsanitize=thread")


@dataclass(frozen=True)
class Memory:
    """Requests, each of a warp, to one kind of memory. `units` is what they take: sectors of 32 bytes of global memory,
    or passes through the banks of shared memory; `least` what they would at best. `worst` is the most that one takes;
    of shared memory, its lanes that are served together: 1 where no bank has two words to give."""

    requests: int
    units: int
    least: int
    worst: int


@dataclass(frozen=True)
class Traffic:
    """Of a launch, or of those of its blocks that ran."""

    blocks: int
    global_memory: Memory
    shared_memory: Memory


class TracedKernels:
    """Kernels of a source whose accesses are counted. What they compute is not looked at, so that memory can hold
    anything."""

    def __init__(self, source: str, folder: Path) -> None:
        """Compiles the source in `folder`. Raises OutsideError without g++ or where it refuses the text."""
        text = _LOOP.sub(r"\g<0> cuda_on_cpu::Round round_\1(\1);", source)
        self.code = CudaOnCpu(text, folder, _FLAGS, header="trace.h", beside=(HEADERS / "trace.cpp",))

    def launch(
        self, kernel: str, grid: Sequence[int], block: Sequence[int], buffers: Sequence[tuple[int, int]],
        blocks: int = 2**32 - 1, shared: int = 0,
    ) -> Traffic:  # fmt: skip
        """Runs one kernel, at most so many `blocks` of it, with `shared` bytes of dynamic shared memory. `buffers` are
        its parameters: the address and the bytes behind it. Raises RuntimeError where its threads do not meet at a
        barrier."""
        ends = (ctypes.c_uint64 * (2 * len(buffers)))(*(value for buffer in buffers for value in buffer))
        self.code.library.cuda_on_cpu_trace(ends, len(buffers), ctypes.c_uint(blocks))
        counts = (ctypes.c_uint64 * 8)()
        try:
            self.code.launch(kernel, grid, block, [address for address, _ in buffers], ORDER, shared)
        finally:
            self.code.library.cuda_on_cpu_traced(counts)
        ran = min(blocks, grid[0] * grid[1] * grid[2])
        return Traffic(ran, Memory(*counts[:4]), Memory(*counts[4:]))
