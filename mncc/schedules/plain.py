"""A planned plain kernel -> TensorIR: the operators' compute definitions under one loop over the output's rows."""

from __future__ import annotations

import math
from typing import Any

import tvm_ffi
from tvm import te, tirx
from tvm.s_tir import Schedule
from tvm.tirx import IterVar

from mncc.kernels.plain import Plain, PlainTiles, items, power_of_two, weight_layout

SMALL_WINDOW = 16
"""Reductions up to this many steps (a 3x3 pool's nine) are unrolled."""


def plain_function(plain: Plain, tiles: PlainTiles, symbol: str) -> tirx.PrimFunc:
    """The scheduled function; parameters (begin, end, weight arrays..., inputs..., output); items are output rows.

    A weight array's parameter is named `weight{offset in floats}`.
    """
    layout, _ = weight_layout(plain)
    sch = Schedule(computed(plain))
    for number, dtype in enumerate(plain.input_dtypes):
        if dtype != "float32":
            sch.compute_inline(sch.get_sblock(f"read{number}"))
    _schedule(sch, tiles)
    function = with_spares(sch.mod["main"], plain, len(layout))
    function = _share_rows(function) if len(plain.output) == 3 else _with_range(function, function.body)
    assert items(plain) == (plain.output[0] if len(plain.output) == 3 else 1)
    offsets = {f"weight{w.offset}": w.offset * 4 for w in layout}
    function = function.with_attr("global_symbol", symbol)
    return function.with_attrs({"mncc.weights": offsets, "mncc.scratch": {}})


def computed(plain: Plain) -> tirx.PrimFunc:
    """The operators' compute definitions, not scheduled; parameters (weight arrays..., inputs..., output)."""
    dtypes = plain.input_dtypes or ("float32",) * len(plain.inputs)
    given = [te.placeholder(s, d, name=f"source{i}") for i, (s, d) in enumerate(zip(plain.inputs, dtypes, strict=True))]
    sources = [_converted(array, "float32", f"read{i}") for i, array in enumerate(given)]
    layout, _ = weight_layout(plain)
    arrays = {w: te.placeholder(w.shape, "float32", name=f"weight{w.offset}") for w in layout}
    made: list[te.Tensor] = []
    for number, step in enumerate(plain.ops):
        weights = {w.role: array for w, array in arrays.items() if w.op == number}
        operands = [sources[-1 - i] if i < 0 else made[i] for i in step.operands]
        made.append(step.op.te(operands, weights))
    return te.create_prim_func([*arrays.values(), *given, _converted(made[-1], plain.output_dtype, "written")])


def _converted(array: te.Tensor, dtype: str, name: str) -> te.Tensor:
    """The array in another type; itself where it has it already."""
    if array.dtype == dtype:
        return array
    return te.compute(array.shape, lambda *index: tirx.Cast(dtype, array[index]), name=name)


def _schedule(sch: Schedule, tiles: PlainTiles) -> None:
    """Computes every stage for one chunk of the output's innermost axis, so that it lies in registers or on the
    stack, and what reduces the channels before, for one pixel."""
    output = sch.get_output_blocks(sch.get_sblock("root"))[0]
    if is_reduction(sch, output):
        output = sch.cache_write(output, 0, "global")
    stages = _stages_to_schedule(sch, output)
    spatial = sch.get_loops(output)
    chunks, lane = sch.split(spatial[-1], [None, tiles.chunk])
    _vectorise(sch, lane, tiles)
    above = len(spatial)
    for stage in reversed(stages):
        if reduces_channels(sch, stage):
            _schedule_channels(sch, stage, spatial[-2] if above > 1 else None, above - 1, tiles)
            continue
        sch.compute_at(stage, chunks, preserve_unit_loops=True)
        own = sch.get_loops(stage)[above:]
        lane, reductions = own[above - 1], own[above:]
        sch.reorder(*own[: above - 1], *reductions, lane)
        _vectorise(sch, lane, tiles)
        if reductions:
            _start_outside(sch, stage, reductions)


def _stages_to_schedule(sch: Schedule, output: Any) -> list[Any]:
    """The blocks before the output. What a reduction reads is inlined: a softmax's powers are computed twice, because
    a whole row of them has no place."""
    stages = []
    for block in sch.get_child_blocks(sch.get_sblock("root")):
        if sch.get(block).same_as(sch.get(output)):
            continue
        if any(is_reduction(sch, user) for user in sch.get_consumers(block)) and not is_reduction(sch, block):
            sch.compute_inline(block)
        else:
            stages.append(block)
    return stages


def is_reduction(sch: Schedule, block: Any) -> bool:
    return sch.get(block).init is not None


def _vectorise(sch: Schedule, loop: Any, tiles: PlainTiles) -> None:
    if tiles.is_vector:
        sch.vectorize(loop)


def _start_outside(sch: Schedule, block: Any, reductions: list[Any]) -> None:
    """The start of the sums taken out of the reduction's loops; small windows are unrolled."""
    if math.prod(int(sch.get(loop).extent) for loop in reductions) <= SMALL_WINDOW:
        for loop in reductions:
            sch.unroll(loop)
    sch.decompose_reduction(block, reductions[0])


def reduces_channels(sch: Schedule, block: Any) -> bool:
    """True where a stage makes one element from a row of channels (softmax's sum)."""
    variables = sch.get(block).iter_vars
    spatial = [v for v in variables if v.iter_type == IterVar.DataPar]
    one = int(spatial[-1].dom.extent) == 1
    return is_reduction(sch, block) and one and len(variables) - len(spatial) == 1


def _schedule_channels(sch: Schedule, block: Any, pixel: Any, above: int, tiles: PlainTiles) -> None:
    """One element from a row of channels: first every lane by itself, then the lanes. `above` loops surround it."""
    channels = sch.get_loops(block)[-1]
    steps, lane = sch.split(channels, [None, power_of_two(int(sch.get(channels).extent), tiles.lanes)])
    lanes = sch.rfactor(lane, 0)
    if pixel is not None:
        sch.compute_at(block, pixel, preserve_unit_loops=True)
        sch.compute_at(lanes, pixel, preserve_unit_loops=True)
        lane, *outer, steps = sch.get_loops(lanes)[above:]
    else:
        *outer, steps, lane = sch.get_loops(lanes)
    sch.reorder(*outer, steps, lane)
    sch.vectorize(lane)
    sch.decompose_reduction(lanes, steps)


def with_spares(function: tirx.PrimFunc, plain: Plain, weights: int) -> tirx.PrimFunc:
    """The function on tensors whose pixels lie apart: the same indices in wider buffers."""
    spares = (*([0] * weights), *(plain.input_spares or [0] * len(plain.inputs)), plain.output_spare)
    if not any(spares):
        return function
    wider = []
    for buffer, spare in zip(function.params, spares, strict=True):
        *outer, channels = (int(size) for size in buffer.shape)
        wider.append(tirx.decl_buffer((*outer, channels + spare), buffer.dtype, name=buffer.name))

    def widened(buffer: Any) -> Any:
        return next((new for old, new in zip(function.params, wider, strict=True) if buffer.same_as(old)), buffer)

    body = tvm_ffi.structural.structural_map(function.body, [(tirx.Buffer, widened)])
    return tirx.PrimFunc(wider, body, function.ret_type, function.attrs)


def _share_rows(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """The outermost loop over rows begin to end instead of over all of them."""
    rows = function.body.block.body
    assert isinstance(rows, tirx.For), "a plain kernel for pictures is one loop over rows"
    begin, end = tirx.Var("begin", "int32"), tirx.Var("end", "int32")

    def shared(loop: Any) -> Any:
        if not loop.loop_var.same_as(rows.loop_var):
            return loop
        return tirx.For(loop.loop_var, begin, end - begin, loop.kind, loop.body)

    body = tvm_ffi.structural.structural_map(function.body, [(tirx.For, shared)])
    return _with_range(function, body, begin, end)


def _with_range(function: tirx.PrimFunc, body: Any, begin: Any = None, end: Any = None) -> tirx.PrimFunc:
    """The function with begin and end as its first parameters."""
    begin = begin if begin is not None else tirx.Var("begin", "int32")
    end = end if end is not None else tirx.Var("end", "int32")
    return tirx.PrimFunc([begin, end, *function.params], body, function.ret_type, function.attrs)
