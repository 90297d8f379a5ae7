"""What no tiles can beat."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mncc.kernels.chain import Chain, Stage
from mncc.kernels.chain_cost import choose_tiles
from mncc.kernels.target import Target, load_target
from mncc.tuning.roofline import roofline
from tests.tuning.fakes import PEAK, tiny_tasks

V4 = load_target("x86-64-v4")


def slots(spec: Chain, target: Target = V4) -> float:
    """The roofline of a chain, in full vectors' multiplications."""
    task = replace(tiny_tasks()[0], spec=spec, target=target, default=choose_tiles(spec, target))
    bound = roofline(task, "s", PEAK)
    assert bound is not None
    return bound / (2e-9 * target.lanes / PEAK)


def pointwise(pixels: int, channels: int, made: int, groups: int = 1) -> Chain:
    return Chain(pixels, pixels, channels, (Stage("conv", pixels, pixels, made, groups=groups),))


@pytest.mark.parametrize("of_group, share", [(8, 1.0), (12, 0.75), (16, 1.0), (20, 20 / 24), (24, 1.0)])
def test_channels_of_a_group_fill_vectors_of_half_the_width_at_best(of_group: int, share: float) -> None:
    chain = pointwise(28, 384, 8 * of_group, groups=8)
    assert slots(chain) == pytest.approx(chain.macs / V4.lanes / share)


def test_weights_come_from_the_nearest_cache_that_holds_them() -> None:
    """Those of a classifier: what the L2 cache holds from there, the rest from the L3 cache, and from memory what is
    larger than that."""
    few, many, most = (pointwise(1, 1024, made) for made in (128, 1024, 8192))
    assert slots(few) == pytest.approx(128 * 1025 * 4 / V4.l2_bytes)
    beyond = 1024 * 1025 * 4 - V4.l2
    assert slots(many) == pytest.approx(V4.l2 / V4.l2_bytes + beyond / V4.l3_most)
    assert slots(most) == pytest.approx(8192 * 1025 * 4 / V4.memory_bytes)


def test_a_target_whose_l3_cache_nobody_measured_counts_on_its_l2_cache() -> None:
    target = load_target("arm64-cortex-a76")
    assert slots(pointwise(1, 1024, 400), target) == pytest.approx(400 * 1025 * 4 / target.l2_bytes)
