"""A planned plain GPU kernel -> TensorIR: an element of the output a thread, or a block a row of channels where these
are reduced."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.s_tir import Schedule

from mncc.kernels.gpu_plain import GpuPlain, GpuPlainTiles
from mncc.kernels.plain import weight_layout
from mncc.schedules.cuda.writer import SHARED
from mncc.schedules.plain import computed, is_reduction, reduces_channels, with_spares


def plain_function(plain: GpuPlain, tiles: GpuPlainTiles, symbol: str) -> tirx.PrimFunc:
    """The scheduled function for one image; parameters (weight arrays..., inputs..., output). A weight array's
    parameter is named `weight{offset in floats}`."""
    layout, _ = weight_layout(plain)
    sch = Schedule(computed(plain))
    output = sch.get_output_blocks(sch.get_sblock("root"))[0]
    if is_reduction(sch, output):
        output = sch.cache_write(output, 0, "local")
    stages = _inlined(sch, output)
    if any(reduces_channels(sch, stage) for stage in stages):
        _row_a_block(sch, output, stages, tiles.threads)
    else:
        _element_a_thread(sch, output, stages, tiles.threads)
    return with_spares(sch.mod["main"], plain, len(layout)).with_attr("global_symbol", symbol)


def _inlined(sch: Schedule, output: Any) -> list[Any]:
    """The reductions before the output; everything else that is not the output is computed where it is read."""
    stages = []
    for block in sch.get_child_blocks(sch.get_sblock("root")):
        if sch.get(block).same_as(sch.get(output)):
            continue
        if is_reduction(sch, block):
            stages.append(block)
        else:
            sch.compute_inline(block)
    return stages


def _element_a_thread(sch: Schedule, output: Any, stages: list[Any], threads: int) -> None:
    block, thread = sch.split(sch.fuse(*sch.get_loops(output)), [None, threads])
    sch.bind(block, "blockIdx.x")
    sch.bind(thread, "threadIdx.x")
    for stage in reversed(stages):
        # The scope comes first: it decides which elements the loop's threads need.
        sch.set_scope(stage, 0, "local")
        sch.compute_at(stage, thread, preserve_unit_loops=True)


def _row_a_block(sch: Schedule, output: Any, stages: list[Any], threads: int) -> None:
    *outer, channels = sch.get_loops(output)
    row = sch.fuse(*outer) if outer else sch.add_unit_loop(channels)
    sch.bind(row, "blockIdx.x")
    _, thread = sch.split(channels, [None, threads])
    sch.bind(thread, "threadIdx.x")
    for stage in reversed(stages):
        sch.set_scope(stage, 0, SHARED)
        sch.compute_at(stage, row, preserve_unit_loops=True)
        _, thread = sch.split(sch.get_loops(stage)[-1], [None, threads])
        sch.bind(thread, "threadIdx.x")
