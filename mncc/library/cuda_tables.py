"""tables.h of a library for GPUs: functions, launches and their arguments as constant data."""

from __future__ import annotations

import math
import re

from mncc.library.cuda_spec import CudaSpec
from mncc.library.header import elements
from mncc.library.names import c_string
from mncc.library.tables import array_lines, check_interface, interface_lines, size_literal

LARGEST_GRID = (2**31 - 1, 65535, 65535)
LARGEST_BLOCK = (1024, 1024, 64)
LARGEST_BLOCK_THREADS = 1024
"""Of every architecture since sm_30: CUDA C++ Programming Guide, "Compute Capabilities"."""

_DRIVERS = {11: "R450", 12: "R525", 13: "R580"}
"""The first driver that runs what a major version of nvcc compiles: CUDA Toolkit release notes, table of drivers."""


def driver_for(cuda_major: int) -> str:
    """The first driver for a major version of CUDA, as NVIDIA calls it."""
    return _DRIVERS.get(cuda_major, f"one of CUDA {cuda_major}")


def check_cuda_spec(spec: CudaSpec) -> None:
    """Raises ValueError where the spec contradicts itself; such an error is mncc's own, not a user's."""
    problems = check_interface(spec)
    if not spec.launches or not spec.architectures:
        problems.append("a library for GPUs needs a launch and an architecture")
    if spec.workspace_bytes < 0:
        problems.append(f"a workspace of {spec.workspace_bytes} bytes")
    sizes = {
        "input": [4 * elements(tensor) for tensor in spec.inputs],
        "output": [4 * elements(tensor) for tensor in spec.outputs],
        "workspace": [spec.workspace_bytes],
        "weights": [spec.weights.nbytes],
    }
    for launch in spec.launches:
        if not re.fullmatch(r"[A-Za-z_]\w*", launch.symbol, flags=re.ASCII):
            problems.append(f"launch {launch.name}: {launch.symbol!r} is not a C symbol")
        limits = [*zip(launch.grid, LARGEST_GRID, strict=True), *zip(launch.block, LARGEST_BLOCK, strict=True)]
        if any(not 1 <= size <= most for size, most in limits) or math.prod(launch.block) > LARGEST_BLOCK_THREADS:
            problems.append(f"launch {launch.name}: grid {launch.grid} of blocks {launch.block}")
        if launch.shared_bytes < 0 or not launch.arguments:
            problems.append(f"launch {launch.name}: {launch.shared_bytes} shared bytes, arguments {launch.arguments}")
        for argument in launch.arguments:
            buffers = sizes[argument.base]
            inside = 0 <= argument.index < len(buffers) and 0 <= argument.offset < buffers[argument.index]
            if not inside or argument.offset % 2:
                problems.append(f"launch {launch.name}: {argument} lies outside of its buffer, or not on a number")
    if problems:
        raise ValueError("\n".join(problems))


def cuda_tables_text(spec: CudaSpec, cuda_version: tuple[int, int]) -> str:
    """The whole of tables.h; `cuda_version` is that of the nvcc that compiled the kernels."""
    symbols = {symbol: n for n, symbol in enumerate(dict.fromkeys(launch.symbol for launch in spec.launches))}
    most = {
        symbol: max(launch.shared_bytes for launch in spec.launches if launch.symbol == symbol) for symbol in symbols
    }
    arguments: list[str] = []
    launches = []
    for launch in spec.launches:
        extents = [", ".join(f"{n}u" for n in extent) for extent in (launch.grid, launch.block)]
        launches.append(
            f"{{{c_string(launch.name)}, {symbols[launch.symbol]}, {{{extents[0]}}}, {{{extents[1]}}}, "
            f"{launch.shared_bytes}u, {len(arguments)}, {len(launch.arguments)}}}"
        )
        arguments += [f"{{ARGUMENT_{a.base.upper()}, {a.index}, {a.offset}}}" for a in launch.arguments]
    lines = [
        *interface_lines(spec),
        "/* nothing of a run lies in the caller's workspace */",
        "#define MNCC_TENSOR_BYTES 0u",
        "#define MNCC_SCRATCH_BYTES 0u",
        f"#define MNCC_DEVICE_BYTES {size_literal(spec.workspace_bytes)}",
        f"#define MNCC_FUNCTIONS {len(symbols)}",
        f"#define MNCC_LAUNCHES {len(launches)}",
        f"#define MNCC_MAX_ARGUMENTS {max(len(launch.arguments) for launch in spec.launches)}",
        f"#define MNCC_ARCHITECTURES {c_string(architectures_text(spec))}",
        f"#define MNCC_CUDA_MAJOR {cuda_version[0]}",
        f"#define MNCC_DRIVER {c_string(driver_for(cuda_version[0]))}",
        "",
        "/* symbol, most dynamic shared memory */",
        *array_lines("gpu_function", "gpu_functions", [f"{{{c_string(s)}, {bytes_}}}" for s, bytes_ in most.items()]),
        "/* base, index, offset */",
        *array_lines("argument", "launch_arguments", arguments),
        "/* name, function, grid, block, dynamic shared memory, first argument, arguments */",
        *array_lines("launch", "launches", launches),
    ]
    return "\n".join(lines)


def architectures_text(spec: CudaSpec) -> str:
    """What the fatbin holds, in words: `sm_75, sm_80, and PTX for all others from sm_75 on`."""
    return f"{', '.join(spec.architectures)}, and PTX for all others from {spec.architectures[0]} on"
