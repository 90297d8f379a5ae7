"""The table of families: what the plan and the backend ask of a kernel, whatever its kind. A new family is a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mncc.kernels import (
    chain,
    chain_cost,
    chain_knobs,
    chain_predict,
    gpu_direct,
    gpu_fused,
    gpu_join,
    gpu_plain,
    gpu_product,
    gpu_space,
    gpu_warp_fused,
    gpu_warp_product,
    gpu_warp_space,
    plain,
    strassen,
    strassen_cost,
    winograd,
    winograd_cost,
)
from mncc.kernels.gpu_time import GpuPrediction
from mncc.kernels.knobs import Space
from mncc.kernels.slots import Prediction
from mncc.kernels.tiles import Phase, Scratch, aligned, one_phase

Arrays = Sequence[Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Family:
    """Functions of a spec and its tiles. `space` is None where there is nothing to choose, or nobody who could. `macs`
    and `executed_macs` are of one image; `executed_macs` counts what two threads really compute, or for an algorithm
    that needs fewer multiplications, `macs`. `weight_floats` is on whole lines."""

    choose_tiles: Callable[[Any, Any], Any]
    space: Space | None
    predict: Callable[[Any, Any, Any], Prediction | GpuPrediction]
    phases: Callable[[Any, Any], tuple[Phase, ...]]
    scratch: Callable[[Any, Any], tuple[Scratch, ...]]
    shared: Callable[[Any, Any], Scratch | None]
    weight_floats: Callable[[Any, Any], int]
    macs: Callable[[Any], int]
    executed_macs: Callable[[Any, Any], int]
    pack: Callable[[Any, Any, Arrays], np.ndarray]
    describe: Callable[[Any, Any], list[str]]


FAMILIES: Mapping[type, Family] = {
    chain.Chain: Family(
        choose_tiles=chain_cost.choose_tiles,
        space=Space(chain_knobs.knobs, chain_knobs.joined, chain_knobs.values),
        predict=chain_predict.predict,
        phases=chain.phases,
        scratch=chain.scratch_layout,
        shared=chain.shared_array,
        weight_floats=lambda spec, tiles: chain.weight_layout(spec)[1],
        macs=lambda spec: spec.macs,
        executed_macs=lambda spec, tiles: chain.executed_macs(spec, tiles, tasks=2),
        pack=chain.pack,
        describe=chain.describe,
    ),
    winograd.Winograd: Family(
        choose_tiles=winograd_cost.choose_tiles,
        space=Space(winograd_cost.knobs, winograd_cost.joined, winograd_cost.values),
        predict=winograd_cost.predict,
        phases=lambda spec, tiles: one_phase(winograd.items(spec, tiles)),
        scratch=winograd.scratch_layout,
        shared=lambda spec, tiles: None,
        weight_floats=lambda spec, tiles: winograd.weight_layout(spec)[1],
        macs=lambda spec: spec.macs,
        executed_macs=lambda spec, tiles: spec.macs,
        pack=winograd.pack,
        describe=winograd.describe,
    ),
    strassen.Strassen: Family(
        choose_tiles=strassen_cost.choose_tiles,
        space=Space(strassen_cost.knobs, strassen_cost.joined, strassen_cost.values),
        predict=strassen_cost.predict,
        phases=strassen.phases,
        scratch=strassen.scratch_layout,
        shared=lambda spec, tiles: strassen.shared_array(spec),
        weight_floats=lambda spec, tiles: strassen.weight_layout(spec).floats,
        macs=lambda spec: spec.macs,
        executed_macs=lambda spec, tiles: spec.macs,
        pack=strassen.pack,
        describe=strassen.describe,
    ),
    plain.Plain: Family(
        choose_tiles=lambda spec, target: plain.choose_tiles(spec, target.lanes),
        space=None,
        predict=plain.predict,
        phases=lambda spec, tiles: one_phase(plain.items(spec)),
        scratch=lambda spec, tiles: (),
        shared=lambda spec, tiles: None,
        weight_floats=lambda spec, tiles: plain.weight_layout(spec)[1],
        macs=lambda spec: 0,
        executed_macs=lambda spec, tiles: 0,
        pack=lambda spec, tiles, arrays: plain.pack(spec, arrays),
        describe=lambda spec, tiles: plain.describe(spec),
    ),
}


def _gpu(
    choose_tiles: Callable[[Any, Any], Any],
    predict: Callable[[Any, Any, Any], GpuPrediction],
    weight_floats: Callable[[Any, Any], int],
    pack: Callable[[Any, Any, Arrays], np.ndarray],
    describe: Callable[[Any, Any], list[str]],
    executed_macs: Callable[[Any, Any], int] = lambda spec, tiles: spec.macs,
    macs: Callable[[Any], int] = lambda spec: spec.macs,
) -> Family:
    """A family for GPUs: one launch, no scratch; weights are whole lines, and may depend on the tiles."""
    return Family(
        choose_tiles=choose_tiles,
        space=None,
        predict=predict,
        phases=lambda spec, tiles: one_phase(1),
        scratch=lambda spec, tiles: (),
        shared=gpu_join.joined_array,
        weight_floats=lambda spec, tiles: aligned(weight_floats(spec, tiles)),
        macs=macs,
        executed_macs=executed_macs,
        pack=lambda spec, tiles, arrays: _whole_lines(pack(spec, tiles, arrays)),
        describe=describe,
    )


def _whole_lines(packed: np.ndarray) -> np.ndarray:
    return np.pad(packed, (0, aligned(packed.size) - packed.size))


GPU_FAMILIES: Mapping[type, Family] = {
    gpu_fused.GpuFused: _gpu(
        choose_tiles=gpu_space.choose_fused,
        predict=gpu_space.predict_fused,
        weight_floats=gpu_join.weight_floats,
        pack=lambda spec, tiles, arrays: gpu_join.with_counters(gpu_fused.pack(spec, tiles, arrays), spec, tiles),
        describe=gpu_fused.describe,
        executed_macs=gpu_fused.executed_macs,
    ),
    gpu_product.GpuProduct: _gpu(
        choose_tiles=gpu_space.choose_product,
        predict=gpu_space.predict_product,
        weight_floats=gpu_join.weight_floats,
        pack=lambda spec, tiles, arrays: gpu_join.with_counters(gpu_product.pack(spec, tiles, arrays), spec, tiles),
        describe=gpu_product.describe,
    ),
    gpu_warp_fused.WarpFused: _gpu(
        choose_tiles=gpu_warp_space.choose_fused,
        predict=gpu_warp_space.predict_fused,
        weight_floats=gpu_join.weight_floats,
        pack=lambda spec, tiles, arrays: gpu_join.with_counters(gpu_warp_fused.pack(spec, tiles, arrays), spec, tiles),
        describe=gpu_warp_fused.describe,
        executed_macs=gpu_fused.executed_macs,
    ),
    gpu_warp_product.WarpProduct: _gpu(
        choose_tiles=gpu_warp_space.choose_product,
        predict=gpu_warp_space.predict_product,
        weight_floats=gpu_join.weight_floats,
        pack=lambda spec, tiles, given: gpu_join.with_counters(gpu_warp_product.pack(spec, tiles, given), spec, tiles),
        describe=gpu_warp_product.describe,
    ),
    gpu_direct.GpuDirect: _gpu(
        choose_tiles=lambda spec, target: gpu_direct.DirectTiles(128),
        predict=gpu_space.predict_direct,
        weight_floats=lambda spec, tiles: gpu_direct.weight_floats(spec),
        pack=gpu_direct.pack,
        describe=gpu_direct.describe,
    ),
    gpu_plain.GpuPlain: _gpu(
        choose_tiles=lambda spec, target: gpu_plain.GpuPlainTiles(128),
        predict=gpu_space.predict_plain,
        weight_floats=lambda spec, tiles: plain.weight_layout(spec)[1],
        pack=lambda spec, tiles, arrays: plain.pack(spec, arrays),
        describe=lambda spec, tiles: plain.describe(spec),
        executed_macs=lambda spec, tiles: 0,
        macs=lambda spec: 0,
    ),
}


def family_of(spec: object) -> Family:
    """The row of a spec's class."""
    kind = type(spec)
    return GPU_FAMILIES[kind] if kind in GPU_FAMILIES else FAMILIES[kind]
