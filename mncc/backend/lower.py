"""Scheduled TensorIR -> functions with a plain C signature: the only place that lists TVM's passes."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm.ir.transform import Sequential
from tvm_ffi.structural import structural_map

from mncc.kernels.tiles import LINE

STACK_BYTES = 16384
"""A register tile's sums stay a stack array, which LLVM promotes to registers; nothing larger may be on the stack."""


def lower(mod: tvm.IRModule, target: tvm.target.Target, intrinsics: bool = False) -> tvm.IRModule:
    """Scheduled functions with buffer parameters -> functions of raw pointers that call nothing of TVM's runtime.

    `intrinsics` where the machine has instructions for LLVM's fma, maximum and minimum."""
    mod = tirx.transform.BindTarget(target.with_host(target))(mod)
    mod = Sequential(_TO_LOOPS)(mod)
    mod = _raw_pointers(mod)
    mod = _arrays_on_stack(mod)
    if intrinsics:
        mod = _one_instruction(mod)
    if str(target.attrs["mtriple"]).startswith("arm"):
        mod = _half_vectors(mod)
    return _without_lets(Sequential(_TO_INTRINSICS)(mod))


BLOCKS_TO_LOOPS = [
    s_tir.transform.LowerMatchBuffer(),
    s_tir.transform.StmtSimplify(),
    s_tir.transform.AnnotateIrregularLoop(),
    s_tir.transform.LowerOpaqueBlock(),
    tirx.transform.FlattenBuffer(),
    tirx.transform.NarrowDataType(32),
    s_tir.transform.LoopPartition(),
    tirx.transform.VectorizeLoop(True),
    tirx.transform.StorageRewrite(),
    s_tir.transform.HoistIfThenElse(),
    tirx.transform.UnrollLoop(),
    s_tir.transform.RenormalizeSplitPattern(),
    tirx.transform.StmtSimplify(),
    tirx.transform.RemoveNoOp(),
    s_tir.transform.RewriteUnsafeSelect(),
    tirx.transform.CommonSubexprElim(),
    tirx.transform.VerifyMemory(),
]
"""For every machine, once blocks are opaque and the threads of a GPU bound."""

_TO_LOOPS = [
    s_tir.transform.CanonicalizeLoop(),
    s_tir.transform.LowerInitBlock(),
    s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
    s_tir.transform.ConvertBlocksToOpaque(),
    s_tir.transform.CompactBufferAllocation(),
    *BLOCKS_TO_LOOPS,
]

_TO_INTRINSICS = [tirx.transform.LowerTVMBuiltin(), tirx.transform.LowerIntrin()]


@tirx.transform.prim_func_pass(opt_level=0)
def _raw_pointers(function: tirx.PrimFunc, mod: tvm.IRModule, ctx: Any) -> tirx.PrimFunc:
    """(begin, end, buffers...) -> (begin, end, weights, scratch, tensors...), all pointers.

    The attributes `mncc.weights` and `mncc.scratch` name the buffers that lie at an offset (bytes) from those two
    pointers, `mncc.align` gives the alignment (bytes) of the tensors.
    """
    places: dict[str, tuple[str, int]] = {}
    for base in ("weights", "scratch"):
        places.update((str(name), (base, int(at))) for name, at in function.attrs[f"mncc.{base}"].items())
    align = {str(name): int(bytes_) for name, bytes_ in function.attrs["mncc.align"].items()}
    bases = {n: tirx.Var(n, tvm.ir.PointerType(tvm.ir.PrimType("float32"))) for n in ("weights", "scratch")}
    params: list[Any] = [*function.params[:2], *bases.values()]
    prologue, aligned = [], [(pointer, LINE) for pointer in bases.values()]
    for buffer in function.params[2:]:
        pointer = tirx.Var(f"{buffer.name}_data", tirx.buffer.buffer_data_pointer_type(buffer))
        if buffer.name in places:
            base, offset = places[buffer.name]
            address = tirx.call_intrin(pointer.ty, "tirx.handle_add_byte_offset", bases[base], offset)
            prologue.append(tirx.Bind(pointer, address))
            aligned.append((pointer, LINE))
        else:
            params.append(pointer)
            aligned.append((pointer, align[buffer.name]))
        prologue.append(tirx.DeclBuffer(buffer, data=pointer))
    # LowerTVMBuiltin refuses bodies without a device, and the C function returns 0.
    body: Any = tirx.SeqStmt([*prologue, function.body])
    for key, value in (("device_type", 1), ("device_id", 0)):
        body = tirx.AttrStmt("default", key, tirx.IntImm("int32", value), body)
    for pointer, bytes_ in reversed(aligned):
        body = tirx.AttrStmt(pointer, "storage_alignment", tirx.IntImm("int32", bytes_), body)
    raw = tirx.PrimFunc(params, body, tvm.ir.PrimType("int32"), function.attrs)
    for name in ("mncc.weights", "mncc.scratch", "mncc.align"):
        raw = raw.without_attr(name)
    return raw.with_attr("calling_conv", 0).with_attr("tirx.noalias", True)


@tirx.transform.prim_func_pass(opt_level=0)
def _arrays_on_stack(function: tirx.PrimFunc, mod: tvm.IRModule, ctx: Any) -> tirx.PrimFunc:
    """Keeps register tiles out of the workspace calls that LowerTVMBuiltin would make of them."""

    def keep(statement: Any) -> Any:
        size = 4
        for extent in statement.buffer.shape:
            size *= int(extent)
        assert size <= STACK_BYTES, f"{statement.buffer.name} of {size} bytes has no place: scratch is planned"
        return tirx.AllocBuffer(statement.buffer, {"disable_lower_builtin": tirx.IntImm("bool", 1)})

    return function.with_body(structural_map(function.body, [(tirx.AllocBuffer, keep)]))


@tirx.transform.prim_func_pass(opt_level=0)
def _without_lets(function: tirx.PrimFunc, mod: tvm.IRModule, ctx: Any) -> tirx.PrimFunc:
    """Puts the value in place of the name that LowerIntrin gives a remainder whose sign it cannot tell: TVM's LLVM
    generator refuses to simplify such an expression twice, knowing more the second time."""

    def inlined(node: Any) -> Any:
        return structural_map(node.body, [(tirx.Var, lambda name: node.value if name.same_as(node.var) else name)])

    return function.with_body(structural_map(function.body, [(tirx.Let, inlined)]))


@tirx.transform.prim_func_pass(opt_level=0)
def _half_vectors(function: tirx.PrimFunc, mod: tvm.IRModule, ctx: Any) -> tirx.PrimFunc:
    """For 32-bit Arm: four float16 become float32 by the instruction for it. LLVM converts them one by one."""

    def converted(node: Any) -> Any:
        if str(node.ty) != "float32x4" or str(node.value.ty) != "float16x4":
            return node
        bits = tirx.reinterpret("int16x4", node.value)
        return tirx.call_llvm_pure_intrin("float32x4", "llvm.arm.neon.vcvthf2fp", bits)

    return function.with_body(structural_map(function.body, [(tirx.Cast, converted)]))


@tirx.transform.prim_func_pass(opt_level=0)
def _one_instruction(function: tirx.PrimFunc, mod: tvm.IRModule, ctx: Any) -> tirx.PrimFunc:
    """Maxima, minima and multiply-adds of floats as LLVM's own. A TensorIR maximum is a comparison and a selection, as
    x86's instruction is, where NEON's return NaN if an operand is one; and of a product and a sum LLVM makes one
    instruction for armv7 only in loops."""

    def call(name: str, node: Any, *operands: Any) -> Any:
        dtype = str(node.ty.dtype)
        return tirx.call_llvm_pure_intrin(dtype, name, *operands) if dtype.startswith("float") else node

    def fused(node: Any) -> Any:
        for product, other in ((node.b, node.a), (node.a, node.b)):
            if isinstance(product, tirx.Mul):
                return call("llvm.fma", node, product.a, product.b, other)
        return node

    rules = [
        (tirx.Add, fused),
        (tirx.Max, lambda node: call("llvm.maximum", node, node.a, node.b)),
        (tirx.Min, lambda node: call("llvm.minimum", node, node.a, node.b)),
    ]
    return function.with_body(structural_map(function.body, rules))
