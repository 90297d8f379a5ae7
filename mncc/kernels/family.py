"""The table of families: what the plan and the backend ask of a kernel, whatever its kind. A new family is a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mncc.kernels import chain, chain_cost, chain_predict, chain_space, plain, winograd, winograd_cost
from mncc.kernels.slots import Prediction
from mncc.kernels.target import Target
from mncc.kernels.tiles import Phase, Scratch, one_phase

Arrays = Sequence[Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Family:
    """Functions of a spec and its tiles. `neighbours` are all tiles that differ from the given ones in one knob. `macs`
    and `executed_macs` are of one image; `executed_macs` counts what two threads really compute, or for an algorithm
    that needs fewer multiplications, `macs`. `weight_floats` is on whole lines."""

    choose_tiles: Callable[[Any, Target], Any]
    neighbours: Callable[[Any, Any, Target], Iterable[Any]]
    predict: Callable[[Any, Any, Target], Prediction]
    phases: Callable[[Any, Any], tuple[Phase, ...]]
    scratch: Callable[[Any, Any], tuple[Scratch, ...]]
    weight_floats: Callable[[Any], int]
    macs: Callable[[Any], int]
    executed_macs: Callable[[Any, Any], int]
    pack: Callable[[Any, Any, Arrays], np.ndarray]
    describe: Callable[[Any, Any], list[str]]


FAMILIES: Mapping[type, Family] = {
    chain.Chain: Family(
        choose_tiles=chain_cost.choose_tiles,
        neighbours=chain_space.neighbours,
        predict=chain_predict.predict,
        phases=chain.phases,
        scratch=chain.scratch_layout,
        weight_floats=lambda spec: chain.weight_layout(spec)[1],
        macs=lambda spec: spec.macs,
        executed_macs=lambda spec, tiles: chain.executed_macs(spec, tiles, tasks=2),
        pack=chain.pack,
        describe=chain.describe,
    ),
    winograd.Winograd: Family(
        choose_tiles=winograd_cost.choose_tiles,
        neighbours=winograd_cost.neighbours,
        predict=winograd_cost.predict,
        phases=lambda spec, tiles: one_phase(winograd.items(spec, tiles)),
        scratch=winograd.scratch_layout,
        weight_floats=lambda spec: winograd.weight_layout(spec)[1],
        macs=lambda spec: spec.macs,
        executed_macs=lambda spec, tiles: spec.macs,
        pack=winograd.pack,
        describe=winograd.describe,
    ),
    plain.Plain: Family(
        choose_tiles=lambda spec, target: plain.choose_tiles(spec, target.lanes),
        neighbours=lambda spec, tiles, target: (),
        predict=plain.predict,
        phases=lambda spec, tiles: one_phase(plain.items(spec)),
        scratch=lambda spec, tiles: (),
        weight_floats=lambda spec: plain.weight_layout(spec)[1],
        macs=lambda spec: 0,
        executed_macs=lambda spec, tiles: 0,
        pack=lambda spec, tiles, arrays: plain.pack(spec, arrays),
        describe=lambda spec, tiles: plain.describe(spec),
    ),
}


def family_of(spec: object) -> Family:
    """The row of a spec's class."""
    return FAMILIES[type(spec)]
