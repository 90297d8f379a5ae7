"""Prefetches in the reduction loops of products: a small pass over scheduled TensorIR."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tvm import tirx
from tvm.s_tir import SBlockRealize, Schedule
from tvm.script.ir_builder import tirx as T
from tvm_ffi.structural import WalkResult, structural_map, structural_walk

Expr = Any
Place = tuple[Any, tuple[Expr, ...]]
"""A buffer, and indices of an element of it."""
Fetches = Callable[[Sequence[Expr]], list[Place]]
"""Indices of the block that multiplies, of a step's first element -> what the step fetches."""

MARK, MARK_BEHIND = "mncc.prefetch", "mncc.prefetch.behind"
LOCALITY = 2
"""LLVM's third argument of `llvm.prefetch`: into the L2 cache (prefetcht1, prfm pldl2keep). The L1 cache holds what the
running kernel reads: with 3, it takes longer by as much as the next one gains."""


def mark_loop(sch: Schedule, block: str, behind: bool) -> None:
    """Marks the innermost loop of a decomposed product that is neither unrolled nor vectorised; `behind` where it is to
    fetch at the end of its body, past which LLVM moves no loads."""
    loops = [sch.get(loop) for loop in sch.get_loops(sch.get_sblock(f"{block}_update"))]
    serial = [number for number, loop in enumerate(loops) if loop.kind == tirx.ForKind.SERIAL]
    mark = MARK_BEHIND if behind else MARK
    sch.annotate(sch.get_loops(sch.get_sblock(f"{block}_update"))[serial[-1]], mark, block)


def with_prefetches(function: tirx.PrimFunc, fetches: Mapping[str, Fetches]) -> tirx.PrimFunc:
    """The function with a prefetch of every place in front of the bodies of the marked loops, or behind them."""

    def fetching(loop: Any) -> Any:
        mark = next((mark for mark in (MARK, MARK_BEHIND) if mark in loop.annotations), None)
        if mark is None:
            return loop
        block = str(loop.annotations[mark])
        calls = [prefetch(*place) for place in fetches[block](_first_element(loop, block))]
        kept = {key: value for key, value in loop.annotations.items() if key != mark}
        body = tirx.SeqStmt([*calls, loop.body] if mark == MARK else [loop.body, *calls])
        return tirx.For(loop.loop_var, loop.min, loop.extent, loop.kind, body, annotations=kept)

    if not fetches:
        return function
    return function.with_body(structural_map(function.body, [(tirx.For, fetching)]))


def _first_element(loop: Any, name: str) -> list[Expr]:
    """What a block is bound to at the first iteration of every loop below."""
    inner: list[tuple[Any, Expr]] = []
    found: list[Any] = []

    def of_loop(node: Any) -> WalkResult:
        inner.append((node.loop_var, node.min))
        return WalkResult.ADVANCE

    def of_block(node: Any) -> WalkResult:
        if node.block.name_hint == f"{name}_update":
            found.append(node)
        return WalkResult.ADVANCE

    structural_walk(loop.body, [(tirx.For, of_loop), (SBlockRealize, of_block)])

    def started(variable: Any) -> Any:
        return next((start for loop_var, start in inner if variable.same_as(loop_var)), variable)

    return [structural_map(value, [(tirx.Var, started)]) for value in found[0].iter_values]


def prefetch(buffer: Any, indices: tuple[Expr, ...]) -> Any:
    """The statement that fetches the line of one element: for reading, as data."""
    return tirx.Evaluate(tirx.call_intrin("void", "tirx.prefetch", T.address_of(buffer[indices]), 0, LOCALITY, 1))
