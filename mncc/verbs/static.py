"""`mncc bench --static`: what can be said of GPU kernels without running them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mncc.language.diagnostic import OutsideError
from mncc.report.failures import UsageError
from mncc.report.static import Bound, StaticKernel, StaticReport
from mncc.verbs.job import find_machine, load_network
from mncc.verbs.precision import find_precision

if TYPE_CHECKING:
    from mncc.backend import CudaKernels, Launch
    from mncc.devices.cuda_on_cpu.tracing import Memory, Traffic
    from mncc.kernels.gpu_target import GpuTarget
    from mncc.library.loops import Code
    from mncc.library.nvcc import Nvcc
    from mncc.library.ptxas import KernelUse
    from mncc.plan import Plan

ALIGN = 256
"""Bytes: as the driver's allocations are."""
SAMPLE = 8
"""Blocks of a launch that are looked at."""
BOARDS = ("cuda-sm80", "cuda-sm87", "cuda-sm90")
"""Targets whose boards the bounds are given for: A100, Orin, H100."""


def static_report(
    path: str | Path,
    settings: Mapping[str, str],
    target: str,
    weights_dtype: str = "float32",
    dtype: str = "float32",
) -> StaticReport:
    """The report of a network for one GPU target; what needs nvcc is missing without it. Raises DiagnosticError,
    UsageError."""
    from mncc.backend import compile_cuda
    from mncc.kernels.gpu_target import GpuTarget
    from mncc.plan import make_plan

    machine = find_machine(target)
    if not isinstance(machine, GpuTarget):
        raise UsageError(f"--static: {machine.name} is a CPU, which can be timed", "name a GPU: --target cuda-sm80")
    precision = find_precision(weights_dtype, dtype, machine)
    network = load_network(path, settings)
    plan = make_plan(network, machine, precision)
    kernels = compile_cuda(plan)
    uses: Mapping[str, KernelUse] = {}
    codes: Mapping[str, Code] = {}
    notes, read = [], ""
    try:
        uses, codes, read = _compiled(kernels.source, machine.architecture)
    except OutsideError as error:
        notes.append(f"registers, spills and loops are missing: {_reason(error)}")
    traffic: Mapping[int, Traffic] = {}
    try:
        traffic = _traced(plan, kernels)
    except OutsideError as error:
        notes.append(f"sectors and banks are missing: {_reason(error)}")
    return StaticReport(
        network=network.name,
        target=machine.name + (f" in {dtype}" if dtype != "float32" else ""),
        board=machine.board,
        multiprocessors=machine.multiprocessors,
        kernels=tuple(
            _kernel(plan, launch, uses.get(launch.symbol), codes.get(launch.symbol), traffic.get(launch.kernel))
            for launch in kernels.launches
        ),
        bounds=tuple(_bound(plan, board) for board in BOARDS),
        loops_of=read,
        note="; ".join(notes),
    )


def _reason(error: OutsideError) -> str:
    """A line."""
    return error.message if error.help is None else f"{error.message} ({error.help})"


def _compiled(source: str, architecture: str) -> tuple[Mapping[str, KernelUse], Mapping[str, Code], str]:
    from mncc.library.nvcc import find_nvcc
    from mncc.library.ptxas import kernel_uses

    nvcc = find_nvcc()
    uses = {symbol: use for (_, symbol), use in kernel_uses(source, [architecture], nvcc).items()}
    return uses, *_codes(source, architecture, nvcc)


def _codes(source: str, architecture: str, nvcc: Nvcc) -> tuple[Mapping[str, Code], str]:
    """The kernels' instructions, of machine code where something reads it; and what they are."""
    from mncc.library.ptx import ptx_codes, ptx_of
    from mncc.library.sass import find_nvdisasm, sass_codes, sass_of

    nvdisasm = find_nvdisasm()
    if nvdisasm is None:
        return ptx_codes(ptx_of(source, architecture, nvcc)), "PTX"
    return sass_codes(sass_of(source, architecture, nvcc, nvdisasm)), "SASS"


def _traced(plan: Plan, kernels: CudaKernels) -> Mapping[int, Traffic]:
    """A kernel's number -> what a sample of its blocks asks of memory, which may hold anything."""
    import numpy as np

    from mncc.devices.cuda_on_cpu.tracing import TracedKernels

    memory = {name: np.zeros(tensor.bytes + ALIGN, np.uint8) for name, tensor in plan.tensors.items()}
    found = {}
    with tempfile.TemporaryDirectory(prefix="mncc") as folder:
        traced = TracedKernels(kernels.source, Path(folder))
        for launch in kernels.launches:
            own = np.zeros(plan.kernels[launch.kernel].weight_floats * 4 + ALIGN, np.uint8)
            buffers = []
            for argument in launch.arguments:
                array = own if argument.value is None else memory[plan.tensor(argument.value).name]
                begin = -(-array.ctypes.data // ALIGN) * ALIGN
                bytes_behind = array.ctypes.data + array.nbytes - begin - argument.offset
                buffers.append((begin + argument.offset, bytes_behind))
            shape = launch.grid, launch.block
            found[launch.kernel] = traced.launch(launch.symbol, *shape, buffers, SAMPLE, launch.shared_bytes)
    return found


def _kernel(
    plan: Plan, launch: Launch, use: KernelUse | None, code: Code | None, traffic: Traffic | None
) -> StaticKernel:  # fmt: skip
    from mncc.kernels.gpu_time import GpuPrediction
    from mncc.library.loops import hottest, hottest_product

    gpu, planned = plan.gpu, plan.kernels[launch.kernel]
    predicted = planned.predict(gpu)
    assert isinstance(predicted, GpuPrediction)
    threads = launch.block[0] * launch.block[1] * launch.block[2]
    resident = predicted.resident
    if use is not None:
        resident = gpu.resident_blocks(threads, use.registers, use.shared + launch.shared_bytes)
    loop, product = (hottest(code), hottest_product(code)) if code else (None, None)
    loads = loop.shared + loop.loaded if loop else 0
    return StaticKernel(
        name=planned.name,
        output=str(planned.output_type),
        blocks=launch.grid[0] * launch.grid[1] * launch.grid[2],
        threads=threads,
        resident=resident,
        occupancy=resident * threads / gpu.threads,
        registers=use.registers if use else None,
        spilled_bytes=use.spill_stores + use.spill_loads if use else None,
        shared_bytes=launch.shared_bytes + (use.shared if use else 0),
        moved_bytes=round(predicted.moved),
        unique_bytes=round(predicted.unique),
        multiply_share=loop.share if loop and loop.multiplies else None,
        product_share=product.share if product else None,
        wide_loads=(loop.shared_wide + loop.loaded_wide) / loads if loop and loads else None,
        sectors=_mean(traffic.global_memory, traffic.global_memory.requests) if traffic else None,
        least_sectors=traffic.global_memory.least / max(1, traffic.global_memory.requests) if traffic else None,
        bank_ways=_mean(traffic.shared_memory, traffic.shared_memory.least) if traffic else None,
        worst_bank_ways=(traffic.shared_memory.worst or None) if traffic else None,
        macs=planned.macs,
    )


def _mean(memory: Memory, whole: int) -> float | None:
    return memory.units / whole if whole else None


def _bound(plan: Plan, board: str) -> Bound:
    """Multiply-adds at the peak, or every byte of inputs, weights and outputs once: whichever takes longer."""
    gpu: GpuTarget
    gpu = find_machine(board)  # type: ignore[assignment]
    ends = sum(tensor.bytes for tensor in plan.tensors.values() if tensor.base != "workspace")
    macs = sum(kernel.macs for kernel in plan.kernels)
    flops = gpu.flops if plan.precision.values == "float32" else gpu.tensor_flops
    seconds = max(2 * macs / flops, (plan.weight_bytes + ends) / gpu.memory)
    return Bound(gpu.board, seconds * 1e6)
