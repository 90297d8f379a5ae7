"""A planned plain kernel -> TensorIR: the operators' compute definitions under one loop over the output's rows."""

from __future__ import annotations

from typing import Any

import tvm_ffi
from tvm import te, tirx
from tvm.s_tir import Schedule

from mncc.kernels.plain import Plain, PlainTiles, items, weight_layout

SMALL_WINDOW = 16
"""Reductions up to this many steps (a 3x3 pool's nine) are unrolled."""


def plain_function(plain: Plain, tiles: PlainTiles, symbol: str) -> tirx.PrimFunc:
    """The scheduled function; parameters (begin, end, weight arrays..., inputs..., output); items are output rows.

    A weight array's parameter is named `weight{offset in floats}`.
    """
    sources = [te.placeholder(shape, "float32", name=f"source{i}") for i, shape in enumerate(plain.inputs)]
    layout, _ = weight_layout(plain)
    arrays = {w: te.placeholder(w.shape, "float32", name=f"weight{w.offset}") for w in layout}
    made: list[te.Tensor] = []
    for number, step in enumerate(plain.ops):
        weights = {w.role: array for w, array in arrays.items() if w.op == number}
        operands = [sources[-1 - i] if i < 0 else made[i] for i in step.operands]
        made.append(step.op.te(operands, weights))
    sch = Schedule(te.create_prim_func([*arrays.values(), *sources, made[-1]]))
    _schedule(sch, tiles, rows=len(plain.output) == 3)
    function = sch.mod["main"]
    function = _share_rows(function) if len(plain.output) == 3 else _with_range(function, function.body)
    assert items(plain) == (plain.output[0] if len(plain.output) == 3 else 1)
    return function.with_attr("global_symbol", symbol)


def _schedule(sch: Schedule, tiles: PlainTiles, rows: bool) -> None:
    """Inlines what is element by element, computes the rest under the output's row or vector, and vectorises."""
    output = sch.get_output_blocks(sch.get_sblock("root"))[0]
    blocks = [b for b in sch.get_child_blocks(sch.get_sblock("root")) if not sch.get(b).same_as(sch.get(output))]
    kept = []
    for block in blocks:
        if sch.get(block).init is None and not _is_read_by_reduction(sch, block):
            sch.compute_inline(block)
        else:
            kept.append(block)
    loops = sch.get_loops(output)
    row = loops[0]
    spatial = loops[: len(sch.get(output).writes[0].region)]
    vectors, lane = sch.split(spatial[-1], [None, tiles.lanes])
    if sch.get(output).init is not None:
        _schedule_reduction(sch, output, loops[len(spatial) :], [*spatial[:-1], vectors], lane)
        near = None
    else:
        sch.vectorize(lane)
        near = vectors
    for block in reversed(kept):
        whole = _reduces_channels(sch, block) or _is_read_by_reduction(sch, block)
        if whole or near is None:
            if rows:
                sch.compute_at(block, row, preserve_unit_loops=True)
            _schedule_inner(sch, block, tiles)
        else:
            sch.compute_at(block, near, preserve_unit_loops=True)
            inner = sch.get_loops(block)
            count = len(sch.get(block).writes[0].region)
            above = len(sch.get_loops(output)) - 1
            own = inner[above:]
            _schedule_reduction(sch, block, own[count:], own[: count - 1], own[count - 1])


def _schedule_reduction(sch: Schedule, block: Any, reductions: list[Any], outer: list[Any], lane: Any) -> None:
    """Reductions around one vector of sums: small windows unrolled, the start of the sums taken out of the loop."""
    sch.reorder(*outer, *reductions, lane)
    sch.vectorize(lane)
    steps = 1
    for loop in reductions:
        steps *= int(sch.get(loop).extent)
    if steps <= SMALL_WINDOW:
        for loop in reductions:
            sch.unroll(loop)
    sch.decompose_reduction(block, reductions[0])


def _schedule_inner(sch: Schedule, block: Any, tiles: PlainTiles) -> None:
    """A stage that is computed whole for a row: vectorised where it is element by element."""
    if sch.get(block).init is None:
        loop = sch.get_loops(block)[-1]
        if int(sch.get(loop).extent) % tiles.lanes == 0:
            _, lane = sch.split(loop, [None, tiles.lanes])
            sch.vectorize(lane)


def _is_read_by_reduction(sch: Schedule, block: Any) -> bool:
    """True where inlining would compute an element once for every step of a reduction."""
    return any(sch.get(user).init is not None for user in sch.get_consumers(block))


def _reduces_channels(sch: Schedule, block: Any) -> bool:
    """True where a stage makes one element from a whole row of channels (softmax's sum)."""
    return int(sch.get(block).writes[0].region[-1].extent) == 1 and int(sch.get(sch.get_loops(block)[-1]).extent) > 1


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
