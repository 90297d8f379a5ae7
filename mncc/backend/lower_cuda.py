"""Scheduled TensorIR -> kernels for a GPU and their CUDA text: the only place that lists TVM's passes for GPUs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir.transform import Sequential
from tvm.tirx.build import codegen_build
from tvm_ffi.structural import structural_map

from mncc.backend.lower import BLOCKS_TO_LOOPS
from mncc.kernels.gpu_target import STATIC_SHARED
from mncc.kernels.gpu_tiles import rounded
from mncc.schedules.cuda.fragments import FRAGMENTS
from mncc.schedules.cuda.writer import ALONE, SHARED

Extent3 = tuple[int, int, int]

OPTIONS = {
    "kind": "cuda",
    "arch": "sm_75",
    "max_threads_per_block": 1024,
    "max_num_threads": 1024,
    "max_shared_memory_per_block": STATIC_SHARED,
    "thread_warp_size": 32,
}
"""The text is the same for all architectures: what it may depend on is what the oldest has."""
ACCESS = 16
"""Bytes of the widest access to shared memory, which arrays in it are aligned to."""
TWICE = 256
"""Threads up to which two blocks shall fit on a multiprocessor: they have 128 registers each then, without which ptxas
loads so far ahead that it takes all 255. Asked for more, or for two in float16, it spills a register or two."""


@dataclass(frozen=True)
class Lowered:
    """One kernel: a module with its device function, how it is launched, and its parameters in the text's order."""

    module: Any
    grid: Extent3
    block: Extent3
    shared_bytes: int
    parameters: tuple[str, ...]


def lower(function: tirx.PrimFunc, symbol: str) -> Lowered:
    """A scheduled function of one kernel; its name in the text is the symbol."""
    target = tvm.target.Target(OPTIONS, host="llvm")
    module = tirx.transform.BindTarget(target)(tvm.IRModule({symbol: function}))
    with target:
        module = Sequential(_APART if FRAGMENTS in function.attrs else _TO_LOOPS)(module)
        module = _nan_stays(module)
        module = Sequential(_TO_KERNELS)(module)
    found = {str(name.name_hint): made for name, made in module.functions.items()}
    host, devices = found.pop(symbol), list(found.values())
    assert len(devices) == 1, f"{symbol} became {len(devices)} kernels"
    extents = _launched(host)
    block = _three(extents, "threadIdx")
    alone = FRAGMENTS in function.attrs or ALONE in function.attrs or block[0] > TWICE
    device = devices[0].with_attrs({"global_symbol": symbol, "tirx.launch_bounds_min_blocks_per_sm": 1 if alone else 2})
    module = Sequential(_TO_DEVICE)(tvm.IRModule({symbol: device}))
    return Lowered(
        module,
        _three(extents, "blockIdx"),
        block,
        extents.get("tirx.use_dyn_shared_memory", 0),
        tuple(str(parameter.name) for parameter in device.params),
    )


def generate(modules: Sequence[Any]) -> str:
    """The CUDA text of some kernels."""
    merged: dict[Any, Any] = {}
    for module in modules:
        merged.update(module.functions.items())
    target = tvm.target.Target(OPTIONS)
    return str(codegen_build(tvm.IRModule(merged), target).inspect_source("cuda"))


def _launched(host: tirx.PrimFunc) -> dict[str, int]:
    """The extents of the host function's one launch, by their tags."""
    found: list[dict[str, int]] = []

    def launch(call: Any) -> None:
        if str(getattr(call.op, "name", "")) == "tirx.call_ffi_kernel":
            tags = [str(tag) for tag in call.attrs.launch_params]
            values = list(call.args)[len(call.args) - len(tags) :]
            found.append({tag: int(value) for tag, value in zip(tags, values, strict=True)})

    tvm_ffi.structural_walk(host.body, (tvm.ir.Call, launch))
    (only,) = found
    return only


def _three(extents: dict[str, int], tag: str) -> Extent3:
    return extents.get(f"{tag}.x", 1), extents.get(f"{tag}.y", 1), extents.get(f"{tag}.z", 1)


@tirx.transform.prim_func_pass(opt_level=0)
def _nan_stays(function: tirx.PrimFunc, mod: tvm.IRModule, ctx: Any) -> tirx.PrimFunc:
    """CUDA's max and min answer the number where the other operand is NaN; ours are `a > b ? a : b`, in which the
    second stays."""

    def largest(node: Any) -> Any:
        return tirx.Select(node.a > node.b, node.a, node.b) if "float" in str(node.ty) else node

    def least(node: Any) -> Any:
        return tirx.Select(node.a < node.b, node.a, node.b) if "float" in str(node.ty) else node

    body = structural_map(function.body, [(tirx.Max, largest), (tirx.Min, least)])
    return function.with_body(body)


@tirx.transform.prim_func_pass(opt_level=0)
def _sized_by_launch(function: tirx.PrimFunc, mod: tvm.IRModule, ctx: Any) -> tirx.PrimFunc:
    """Shared arrays that are more than a block has without asking become parts of one, whose size the launch says.
    (TVM's own pass for that lets arrays share memory behind the barriers' backs; it also sees in dynamic memory one
    array, so that barriers are placed before.)"""
    arrays: list[Any] = []

    def found(node: Any) -> None:
        if node.buffer.scope() == SHARED:
            arrays.append(node.buffer)

    tvm_ffi.structural_walk(function.body, (tirx.AllocBuffer, found))
    begins, size = [], 0
    for array in arrays:
        begins.append(size)
        size += rounded(math.prod(map(int, array.shape)) * tvm.DataType(array.dtype).itemsize, ACCESS)
    if size <= STATIC_SHARED:
        return function
    whole = tirx.decl_buffer((size,), "uint8", "shared_memory", scope=f"{SHARED}.dyn", data_alignment=ACCESS)
    parts = [tirx.decl_buffer(a.shape, a.dtype, a.name, scope=f"{SHARED}.dyn") for a in arrays]

    def renamed(var: Any) -> Any:
        return next((part for array, part in zip(arrays, parts, strict=True) if var.same_as(array)), var)

    def part(node: Any) -> Any:
        for begin, each in zip(begins, parts, strict=True):
            if node.buffer.same_as(each):
                return tirx.DeclBuffer(each, data=tirx.ptr_byte_offset(whole.data, begin, each.dtype))
        return node

    placed: list[Any] = []

    def threads(node: Any) -> Any:
        if placed or node.attr_key != "thread_extent":
            return node
        placed.append(node)
        return tirx.AttrStmt(node.node, node.attr_key, node.value, tirx.SeqStmt([tirx.AllocBuffer(whole), node.body]))

    body = structural_map(function.body, [(tvm.ir.Var, renamed), (tirx.AllocBuffer, part)])
    # Outside of threads it would be a parameter.
    return function.with_body(structural_map(body, [(tirx.AttrStmt, threads)], order="pre"))


_TO_LOOPS = [
    s_tir.transform.CanonicalizeLoop(),
    s_tir.transform.LowerCrossThreadReduction(),
    s_tir.transform.LowerInitBlock(),
    s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
    s_tir.transform.ConvertBlocksToOpaque(),
    s_tir.transform.LiftThreadBinding(),
    s_tir.transform.CompactBufferAllocation(),
    s_tir.transform.UnifyThreadBinding(),
    *BLOCKS_TO_LOOPS,
    tirx.transform.AnnotateEntryFunc(),
]

_APART = [step for step in _TO_LOOPS if str(step.info.name) != "tirx.StorageRewrite"]
"""For functions on fragments: arrays of two types that share memory have no pointer that the loads and stores of
fragments accept."""

_TO_KERNELS = [
    s_tir.transform.ThreadSync(SHARED),
    s_tir.transform.ThreadSync("warp"),
    s_tir.transform.InferFragment(),
    s_tir.transform.LowerThreadAllreduce(),
    _sized_by_launch,
    tirx.transform.SplitHostDevice(),
]

_TO_DEVICE = [
    tirx.transform.LowerWarpMemory(),
    tirx.transform.StmtSimplify(),
    tirx.transform.LowerIntrin(),
]
