"""Which convolutions become Winograd ones, and what the plan gives them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mncc.elaborate import load
from mncc.kernels.chain import Chain, Stage
from mncc.kernels.target import load_target
from mncc.kernels.winograd import Winograd
from mncc.kernels.winograd_cost import faster
from mncc.plan import make_plan

TARGETS = ("x86-64-v3", "x86-64-v4")
ONE = ((1, 1), (1, 1))


def convolution(height: int, channels: int, out: int, **more: object) -> Chain:
    """A convolution of a square picture, 3x3 with the padding that keeps its size where nothing else is said."""
    stage = Stage("conv", height, height, out, **{"kernel": (3, 3), "padding": ONE, **more})
    return Chain(height, height, channels, (stage,))


LARGE = [(224, 64, 64), (112, 128, 128), (56, 256, 256), (28, 512, 512), (14, 512, 512), (56, 64, 64), (14, 256, 256)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", LARGE)
def test_large_convolutions(case: tuple[int, int, int], target: str) -> None:
    spec = faster(convolution(*case), load_target(target))
    assert isinstance(spec, Winograd) and spec.size == 4
    assert spec.macs == convolution(*case).macs
    assert faster(spec, load_target(target)) is spec


@pytest.mark.parametrize("target", TARGETS)
def test_small_tiles_where_large_ones_reach_out_of_the_picture(target: str) -> None:
    spec = faster(convolution(2, 256, 256), load_target(target))
    assert not isinstance(spec, Winograd) or spec.size == 2


@pytest.mark.parametrize("target", TARGETS)
def test_others_stay_direct(target: str) -> None:
    machine = load_target(target)
    large = convolution(56, 64, 64)
    others = [
        convolution(224, 3, 64),
        convolution(1, 512, 512),
        convolution(56, 64, 64, kernel=(1, 1), padding=((0, 0), (0, 0))),
        convolution(56, 64, 64, kernel=(5, 5), padding=((2, 2), (2, 2))),
        convolution(56, 64, 64, dilation=(2, 2), padding=((2, 2), (2, 2))),
        convolution(56, 64, 64, groups=2),
        convolution(56, 64, 64, stride=(2, 2)),
        convolution(56, 64, 64, shuffle=2),
        replace(large, pool=True),
        replace(large, stages=(*large.stages, Stage("conv", 56, 56, 64))),
    ]
    for chain in others:
        assert faster(chain, machine) is chain, chain


@pytest.mark.parametrize("target", TARGETS)
def test_vgg16(target: str) -> None:
    plan = make_plan(load("examples/vgg16.mn"), load_target(target))
    convolutions = [k for k in plan.kernels if isinstance(k.spec, Chain) and k.spec.stages[0].kernel == (3, 3)]
    assert [type(k.spec) for k in convolutions] == [Chain, *[Winograd] * 12]
    made = {k.output for k in convolutions}
    for kernel in convolutions[1:]:
        # Behind a convolution no tile has to be clipped; pools write no borders. Nothing counts as computed twice.
        assert isinstance(kernel.spec, Chain)
        assert kernel.inputs[0] not in made or kernel.spec.input_pads == kernel.spec.wanted_pads
        assert kernel.recomputed_share == 0
    assert sum(k.inputs[0] in made for k in convolutions) == 8
