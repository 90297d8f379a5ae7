"""Kernels for GPUs on machines without one: CUDA source with `on_cpu.h` in front of it, compiled by g++."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from mncc.language.diagnostic import OutsideError

HEADERS = Path(__file__).parent
KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\) )?(\w+)\(')
DYNAMIC = re.compile(r"extern __shared__ (?:__align__\(\d+\) )?(\w+) (\w+)\[\];")
FLAGS = ("-std=c++17", "-fPIC", "-w", "-O1", "-ffp-contract=off", "-fno-strict-aliasing")


def on_cpu(source: str) -> str:
    """The source, with what g++ has no words for in those of `on_cpu.h`."""
    return DYNAMIC.sub(r"CUDA_DYNAMIC_SHARED(\1, \2);", source)


class CudaOnCpu:
    """The kernels of a source, launched as a driver would."""

    def __init__(
        self, source: str, folder: Path, flags: Sequence[str] = (), header: str = "on_cpu.h",
        beside: Sequence[Path] = (),
    ) -> None:  # fmt: skip
        """Compiles the source in `folder`, behind a header and with flags of its own; `beside` are sources that are
        linked to it. Raises OutsideError without g++ or where it refuses the text."""
        self.kernels = tuple(dict.fromkeys(KERNEL.findall(source)))
        text = on_cpu(source) + "".join(f"\nCUDA_ON_CPU_KERNEL({kernel})" for kernel in self.kernels) + "\n"
        path, made, library = folder / "kernels.cpp", folder / "kernels.o", folder / "kernels.so"
        path.write_text(f'#include "{header}"\n{text}')
        include = ("-I", str(HEADERS))
        _run("g++", *FLAGS, *flags, *include, "-c", str(path), "-o", str(made))
        _run("g++", *FLAGS, "-shared", *include, str(made), *map(str, beside), "-o", str(library))
        self.library = ctypes.CDLL(str(library))
        self.library.cuda_on_cpu_error.restype = ctypes.c_char_p

    def launch(
        self, kernel: str, grid: Sequence[int], block: Sequence[int], pointers: Sequence[int], order: int = 0,
        shared: int = 0,
    ) -> None:  # fmt: skip
        """Runs one kernel to its end, with `shared` bytes of dynamic shared memory. Raises RuntimeError where its
        threads do not meet at a barrier."""
        values = [ctypes.c_void_p(pointer) for pointer in pointers]
        parameters = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        extents = (ctypes.c_uint * 7)(*grid, *block, shared)
        if getattr(self.library, f"launch_{kernel}")(parameters, extents, ctypes.c_uint(order)):
            raise RuntimeError(f"{kernel}: {self.library.cuda_on_cpu_error().decode()}")


def _run(*command: str) -> None:
    try:
        made = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise OutsideError("there is no g++, which runs GPU kernels on the CPU", "apt install g++") from None
    if made.returncode:
        lines = made.stderr.splitlines() or [f"status {made.returncode}"]
        reason = next((line for line in lines if "error" in line), lines[0])
        raise OutsideError(f"g++ refuses the kernels: {reason}")
