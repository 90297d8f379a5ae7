"""A plan's kernels -> CUDA source and a table of launches: the only place that knows TVM's passes for GPUs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mncc.backend.versions import check_versions
from mncc.kernels.gpu_direct import GpuDirect
from mncc.kernels.gpu_fused import GpuFused
from mncc.kernels.gpu_join import counters_offset
from mncc.kernels.gpu_plain import GpuPlain
from mncc.kernels.gpu_product import GpuProduct
from mncc.kernels.gpu_tiles import vector_lanes
from mncc.kernels.gpu_warp_fused import WarpFused
from mncc.kernels.gpu_warp_product import WarpProduct
from mncc.plan.model import Plan, PlannedKernel, Tiles

if TYPE_CHECKING:
    import tvm

ACCESS = 16
"""Bytes of the widest access."""
Extent3 = tuple[int, int, int]
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class TensorFacts:
    """What the code of a kernel depends on of a tensor in memory: elements from pixel to pixel and from image to image,
    and the width in elements of accesses that are aligned."""

    pitch: int
    stride: int
    lanes: int


@dataclass(frozen=True)
class CudaFunction:
    """What makes two kernels the same code."""

    spec: GpuFused | GpuProduct | GpuDirect | GpuPlain
    tiles: Tiles
    tensors: tuple[TensorFacts, ...]


@dataclass(frozen=True)
class CudaArgument:
    """What a parameter is given: a value of the plan, or the kernel's weights (None), `offset` bytes behind."""

    value: str | None
    offset: int = 0


@dataclass(frozen=True)
class Launch:
    """One launch: the function, blocks, threads of a block, bytes of dynamic shared memory, and the arguments in the
    order of the text, which is TVM's."""

    kernel: int
    symbol: str
    grid: Extent3
    block: Extent3
    shared_bytes: int
    arguments: tuple[CudaArgument, ...]


@dataclass(frozen=True)
class CudaKernels:
    """CUDA C++ with an `extern "C" __global__` function for every distinct kernel, and the launches in order; a plain
    kernel of a batch has one for each image."""

    source: str = field(repr=False)
    launches: tuple[Launch, ...]


@dataclass(frozen=True)
class Compiled:
    """A function of the source: how it is launched, and its parameters by name in the order of the text."""

    symbol: str
    grid: Extent3
    block: Extent3
    shared_bytes: int
    parameters: tuple[str, ...]


def compile_cuda(plan: Plan, progress: Progress | None = None) -> CudaKernels:
    """The kernels of a plan for a GPU. Needs neither nvcc nor a GPU. Raises OutsideError for a wrong TVM."""
    symbols, functions = _functions(plan)
    source, compiled = compile_cuda_functions(functions, progress)
    launches: list[Launch] = []
    for number, symbol in enumerate(symbols):
        launches += _launches(plan, number, plan.kernels[number], compiled[symbol])
    return CudaKernels(source, tuple(launches))


def compile_cuda_functions(
    functions: Mapping[CudaFunction, str], progress: Progress | None = None
) -> tuple[str, Mapping[str, Compiled]]:
    """The source of the given functions, and what is to be known of each by its symbol."""
    check_versions()
    from mncc.backend.lower_cuda import generate, lower

    lowered = {}
    for number, (function, symbol) in enumerate(functions.items()):
        if progress:
            progress(f"scheduling {symbol}", number / (len(functions) + 1))
        lowered[symbol] = lower(_scheduled(symbol, function), symbol)
    text = generate([kernel.module for kernel in lowered.values()])
    return text, {
        symbol: Compiled(symbol, kernel.grid, kernel.block, kernel.shared_bytes, kernel.parameters)
        for symbol, kernel in lowered.items()
    }


def emit_cuda(plan: Plan, stage: str) -> str:
    """The kernels as text: `tir` scheduled TensorIR, or `cuda` the source."""
    _, functions = _functions(plan)
    if stage == "tir":
        check_versions()
        return "\n\n".join(_scheduled(symbol, function).script() for function, symbol in functions.items())
    return compile_cuda_functions(functions)[0]


def _functions(plan: Plan) -> tuple[tuple[str, ...], Mapping[CudaFunction, str]]:
    """Per kernel the symbol it calls, and every distinct function with its symbol."""
    functions: dict[CudaFunction, str] = {}
    symbols = []
    for kernel in plan.kernels:
        plain = isinstance(kernel.spec, GpuPlain)
        facts = tuple(_facts(plan, kernel, value) for value in kernel.values)
        assert isinstance(kernel.spec, GpuFused | GpuProduct | GpuDirect | GpuPlain) and kernel.tiles is not None
        function = CudaFunction(kernel.spec, kernel.tiles, () if plain else facts)
        symbols.append(functions.setdefault(function, f"kernel{len(functions)}"))
    return tuple(symbols), functions


def _facts(plan: Plan, kernel: PlannedKernel, value: str) -> TensorFacts:
    tensor, (_, start), channels = plan.tensor(value), plan.storage(value), plan.channels(kernel, value)
    pitch = channels + plan.spare(value)
    stride = tensor.image_stride // tensor.each * kernel.images_per_call
    shared = (stride,) if kernel.images > 1 else ()
    return TensorFacts(pitch, stride, vector_lanes(ACCESS // tensor.each, channels, pitch, start, *shared))


def _launches(plan: Plan, number: int, kernel: PlannedKernel, compiled: Compiled) -> list[Launch]:
    """One launch, or for a plain kernel one an image."""
    times = kernel.images if isinstance(kernel.spec, GpuPlain) else 1
    made = []
    for image in range(times):
        arguments = tuple(_argument(plan, kernel, name, image) for name in compiled.parameters)
        made.append(Launch(number, compiled.symbol, compiled.grid, compiled.block, compiled.shared_bytes, arguments))
    return made


def _argument(plan: Plan, kernel: PlannedKernel, name: str, image: int) -> CudaArgument:
    """What the parameter of that name is given. TVM's name of a buffer's pointer is the buffer's with `_ptr` behind."""
    name = name.removesuffix("_ptr")
    if name == "counters":
        return CudaArgument(None, counters_offset(kernel.spec, kernel.tiles) * 4)
    if name.startswith("weight"):
        return CudaArgument(None, int(name.removeprefix("weight").removeprefix("s") or 0) * 4)
    value = _named(kernel, name)
    tensor, (_, start) = plan.tensor(value), plan.storage(value)
    return CudaArgument(value, start * tensor.each + image * tensor.image_stride * kernel.images_per_call)


def _named(kernel: PlannedKernel, name: str) -> str:
    """The value that a schedule calls by that name."""
    if name == "input":
        return kernel.inputs[0]
    if name == "residual":
        return kernel.inputs[1]
    if name == "shared":
        assert kernel.shared is not None
        return kernel.shared
    if name.startswith("source"):
        return kernel.inputs[int(name.removeprefix("source"))]
    return kernel.output


def _scheduled(symbol: str, function: CudaFunction) -> tvm.tirx.PrimFunc:
    from mncc.schedules.cuda.direct import direct_function
    from mncc.schedules.cuda.fused import fused_function
    from mncc.schedules.cuda.plain import plain_function
    from mncc.schedules.cuda.product import product_function
    from mncc.schedules.cuda.warp_fused import warp_fused_function
    from mncc.schedules.cuda.warp_product import warp_product_function
    from mncc.schedules.cuda.writer import TensorPlace

    if isinstance(function.spec, GpuPlain):
        return plain_function(function.spec, function.tiles, symbol)  # type: ignore[arg-type]
    schedules: Mapping[type, Callable[..., Any]] = {
        GpuFused: fused_function,
        GpuProduct: product_function,
        GpuDirect: direct_function,
        WarpFused: warp_fused_function,
        WarpProduct: warp_product_function,
    }
    places = [TensorPlace(t.pitch, t.stride, t.lanes) for t in function.tensors]
    return schedules[type(function.spec)](function.spec, function.tiles, places, symbol)
