"""Predicted times: their parts, what makes them longer, and that they are possible for every network of the README."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mncc.kernels.chain import Chain, ChainTiles, Stage
from mncc.kernels.chain_cost import AS_GOOD, choose_tiles
from mncc.kernels.chain_predict import pass_slots, predict, stage_passes
from mncc.kernels.chain_space import cuts
from mncc.kernels.family import family_of
from mncc.kernels.slots import Prediction, Slots, stall
from mncc.kernels.target import Target, load_target, target_names
from mncc.kernels.tiles import ConvTile, scratch_floats
from mncc.network.ops import Activation
from mncc.plan import make_plan
from mncc.verbs.job import load_network

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TARGETS = [load_target(name) for name, _ in target_names() if not name.startswith(("native", "cuda"))]
ONE = ((1, 1), (1, 1))


def inverted(activation: str = "relu6", size: int = 28, channels: int = 32) -> Chain:
    """Expansion by six, depthwise 3x3, projection."""
    act, hidden = Activation(activation), 6 * channels
    expand = Stage("conv", size, size, hidden, activation=act)
    middle = Stage("depthwise", size, size, hidden, (3, 3), padding=ONE, activation=act)
    return Chain(size, size, channels, (expand, middle, Stage("conv", size, size, channels)))


def product(depth: int, channels: int, pixels: int = 196) -> Chain:
    return Chain(1, pixels, depth, (Stage("conv", 1, pixels, channels),))


def total(chain: Chain, target: Target, tiles: ChainTiles | None = None) -> float:
    return predict(chain, tiles or choose_tiles(chain, target), target).slots.total


def test_slots_add_up() -> None:
    a, b = Slots(1.0, 2.0, 3.0, 4.0), Slots(memory=6.0)
    assert (a + b).total == 16.0 and a.times(2) == Slots(2.0, 4.0, 6.0, 8.0)
    found = Prediction(8.0, (a, a), b)
    assert found.slots == Slots(2.0, 4.0, 6.0, 14.0) and found.share == 8 / 26
    assert found.describe() == "predicted 31% of the FMA peak: 0.0 k slots, 0.0 multiply, 0.0 tiles, 0.0 L2, 0.0 memory"
    assert "FMA" not in Prediction(0.0, (), a).describe() and Prediction(0.0, (), Slots()).share == 0.0


def test_transfers_hide_behind_work_as_far_as_there_is_any() -> None:
    assert stall(100, 0, 0.1) == 0
    assert stall(100, 50, 0.1) == pytest.approx(5)
    assert stall(100, 100, 0.1) == pytest.approx(10)
    assert stall(100, 300, 0.1) == pytest.approx(210)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2", "vgg16"])
def test_every_kernel_of_a_network_has_a_possible_time(name: str, target: Target) -> None:
    plan = make_plan(load_network(EXAMPLES / f"{name}.mn", {}), target)
    spent = ideal = 0.0
    for kernel in plan.kernels:
        found = kernel.predict(target)
        slots = found.slots
        assert min(slots.multiply, slots.tiles, slots.l2, slots.memory) >= 0, kernel.name
        assert slots.total > 0, kernel.name
        assert found.ideal == pytest.approx(kernel.macs / kernel.images / target.lanes)
        if kernel.family == "strassen":
            assert slots.multiply < found.ideal <= slots.multiply * 8 / 7, kernel.name
        if kernel.family == "chain":
            assert found.ideal <= slots.multiply * (1 + 1e-9), kernel.name
        spent, ideal = spent + slots.total, ideal + found.ideal
    # More than half of the peak, and the peak where all is multiplied: Winograd's convolutions and Strassen's products
    # multiply less.
    most = {"winograd": 4.0, "strassen": 8 / 7}
    assert 0.5 < ideal / spent < max(most.get(kernel.family, 1.0) for kernel in plan.kernels)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_more_work_takes_longer(target: Target) -> None:
    assert total(product(64, 64), target) < total(product(128, 64), target) < total(product(128, 128), target)
    assert total(inverted(size=14), target) < total(inverted(size=28), target)
    assert total(product(64, 64, 49), target) < total(product(64, 64, 98), target)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_activations_cost_what_they_compute(target: Target) -> None:
    tiles = choose_tiles(inverted(), target)
    kinds = ("relu", "relu6", "leaky", "hard_sigmoid", "hard_swish", "sigmoid", "swish")
    times = [total(inverted(kind), target, tiles) for kind in kinds]
    assert times == sorted(times) and len(set(times)) == len(times)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_small_tiles_wait_for_their_sums(target: Target) -> None:
    chain = product(256, 256)
    chosen = choose_tiles(chain, target).stages[0]
    single = ConvTile(1, 1, target.lanes, target.lanes)
    assert pass_slots(chain, 0, single, 1, target).total > 4 * pass_slots(chain, 0, chosen, 1, target).total


def test_caches_matter() -> None:
    target = load_target("x86-64-v4")
    chain = inverted(size=56)
    tiles = choose_tiles(chain, target)
    whole = replace(tiles, strip=56, band=56)
    assert total(chain, target, whole) > total(chain, target, tiles)
    assert total(chain, replace(target, l2=target.l2 // 8), whole) >= total(chain, target, whole)
    heavy = product(2048, 1000, 1)
    slow = replace(target, l3_bytes=target.l3_bytes / 2)
    assert total(heavy, slow, choose_tiles(heavy, target)) > 1.5 * total(heavy, target)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("size", [15, 29, 56])
def test_the_cut_is_the_fastest_and_smallest(target: Target, size: int) -> None:
    chain = inverted(size=size)
    tiles = choose_tiles(chain, target)
    times = {cut: total(chain, target, cut) for cut in cuts(chain, tiles.stages)}
    # Register tiles are chosen once more behind the cut, so that it may have become a little worse.
    assert times[tiles] <= 1.02 * AS_GOOD * min(times.values())
    scratch = {cut: scratch_floats(family_of(chain).scratch(chain, cut)) for cut in times}
    equal = [cut for cut, time in times.items() if time <= min(times.values())]
    assert scratch[tiles] <= max(scratch[cut] for cut in equal)


@pytest.mark.parametrize(("strip", "band"), [(28, 28), (28, 3), (5, 2), (1, 1)])
def test_passes_cover_every_row_once(strip: int, band: int) -> None:
    for rows in stage_passes(inverted(), strip, band):
        assert sum(count * many for count, many in rows) == 28
