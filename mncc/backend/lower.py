"""Scheduled TensorIR -> functions with a plain C signature: the only place that lists TVM's passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir.transform import Sequential

STACK_BYTES = 16384
"""A register tile's sums stay a stack array, which LLVM promotes to registers; nothing larger may be on the stack."""


def lower(mod: tvm.IRModule, target: tvm.target.Target) -> tvm.IRModule:
    """Scheduled functions with buffer parameters -> functions of raw pointers that call nothing of TVM's runtime."""
    mod = tirx.transform.BindTarget(target.with_host(target))(mod)
    mod = Sequential(_TO_LOOPS)(mod)
    mod = _raw_pointers(mod)
    mod = _arrays_on_stack(mod)
    return Sequential(_TO_INTRINSICS)(mod)


_TO_LOOPS = [
    s_tir.transform.CanonicalizeLoop(),
    s_tir.transform.LowerInitBlock(),
    s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
    s_tir.transform.ConvertBlocksToOpaque(),
    s_tir.transform.CompactBufferAllocation(),
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

_TO_INTRINSICS = [tirx.transform.LowerTVMBuiltin(), tirx.transform.LowerIntrin()]


@tirx.transform.prim_func_pass(opt_level=0)
def _raw_pointers(function: tirx.PrimFunc, mod: tvm.IRModule, ctx: Any) -> tirx.PrimFunc:
    """Buffer parameters -> pointers. `mncc.scratch` names those that lie at an offset (bytes) in one scratch
    parameter; `mncc.align` gives the alignment in bytes of the others."""
    scratch: Mapping[str, Any] = function.attrs.get("mncc.scratch", {})
    align: Mapping[str, Any] = function.attrs.get("mncc.align", {})
    pool = tirx.Var("scratch", tvm.ir.PointerType(tvm.ir.PrimType("float32")))
    params, prologue, aligned = [], [], []
    for param in function.params:
        if not isinstance(param.ty, tirx.buffer.BufferType):
            params.append(param)
            continue
        pointer = tirx.Var(param.name + "_ptr", tirx.buffer.buffer_data_pointer_type(param))
        if param.name in scratch:
            address = tirx.call_intrin(pointer.ty, "tirx.handle_add_byte_offset", pool, scratch[param.name])
            prologue.append(tirx.Bind(pointer, address))
        else:
            params.append(pointer)
        aligned.append((pointer, int(align.get(param.name, 64))))
        prologue.append(tirx.DeclBuffer(param, data=pointer))
        if param.name == "weights":
            params.append(pool)
    body: Any = tirx.SeqStmt([*prologue, function.body])
    for key in ("device_type", "device_id"):
        body = tirx.AttrStmt("default", key, tirx.IntImm("int32", 1 if key == "device_type" else 0), body)
    for pointer, bytes_ in reversed(aligned):
        body = tirx.AttrStmt(pointer, "storage_alignment", tirx.IntImm("int32", bytes_), body)
    raw = tirx.PrimFunc(params, body, tvm.ir.PrimType("int32"), function.attrs)
    return raw.with_attr("calling_conv", 0)


@tirx.transform.prim_func_pass(opt_level=0)
def _arrays_on_stack(function: tirx.PrimFunc, mod: tvm.IRModule, ctx: Any) -> tirx.PrimFunc:
    """Keeps register tiles out of the workspace calls that LowerTVMBuiltin would make of them."""

    def keep(statement: Any) -> Any:
        size = 4
        for extent in statement.buffer.shape:
            size *= int(extent)
        assert size <= STACK_BYTES, f"{statement.buffer.name} of {size} bytes has no place: scratch is planned"
        return tirx.AllocBuffer(statement.buffer, {"disable_lower_builtin": tirx.IntImm("bool", 1)})

    return function.with_body(tvm_ffi.structural.structural_map(function.body, [(tirx.AllocBuffer, keep)]))
