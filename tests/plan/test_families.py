"""Which convolutions become Winograd ones, which products Strassen's, and what the plan gives them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mncc.elaborate import load
from mncc.kernels import strassen_cost
from mncc.kernels.chain import NO_PADS, Chain, Stage
from mncc.kernels.precision import Precision
from mncc.kernels.strassen import PRODUCTS, Strassen, StrassenTiles
from mncc.kernels.target import Target, cpu_targets, load_target
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


AVX2 = load_target("x86-64-v3")


def pair(size: int, channels: int, out: int, stride: int = 1) -> Chain:
    """A depthwise stage and the product behind it, on a square picture in the borders that it needs."""
    made = size // stride
    first = Stage("depthwise", made, made, channels, (3, 3), (stride, stride), ONE)
    return Chain(size, size, channels, (first, Stage("conv", made, made, out)), input_pads=ONE)


def test_products_that_were_measured() -> None:
    """On Zen 3: at 14x14 from 256 channels, and where the sums of pixels do not fit into the L2 cache, it gains
    nothing or loses."""
    for case in ((14, 512, 512), (10, 1024, 1024)):
        chain = pair(*case)
        spec = strassen_cost.faster(chain, AVX2)
        assert isinstance(spec, Strassen) and spec.macs == chain.macs
        assert spec.product_macs * 8 == chain.stage_macs(1) * PRODUCTS
        assert strassen_cost.faster(spec, AVX2) is spec
    # Six rows of six pixels are too few tiles to fetch panels in.
    for chain in (
        pair(28, 256, 512, 2),
        pair(28, 256, 256),
        pair(14, 64, 64),
        pair(7, 1024, 1024),
        pair(6, 1024, 1024),
    ):
        assert strassen_cost.faster(chain, AVX2) is chain, chain


@pytest.mark.parametrize("target", [t for t in cpu_targets() if not t.strassen], ids=lambda target: target.name)
def test_no_product_of_a_machine_on_which_nobody_measured_one(target: Target) -> None:
    chain = pair(14, 512, 512)
    assert strassen_cost.faster(chain, target) is chain


def test_products_that_cannot_be_computed_so_stay() -> None:
    chain = pair(14, 512, 512)
    depthwise, product = chain.stages
    others = [
        replace(chain, input_pads=NO_PADS),
        replace(chain, residual=True),
        replace(chain, weights_dtype="float16"),
        replace(chain, stages=(depthwise, replace(product, groups=2))),
        replace(chain, stages=(depthwise, replace(product, channels=511))),
        replace(chain, stages=(replace(depthwise, shuffle=2), product)),
        Chain(14, 14, 512, (product,)),
    ]
    for other in others:
        assert strassen_cost.faster(other, AVX2) is other, other


def test_mobilenet_v1() -> None:
    network = load("examples/mobilenet_v1.mn")
    plan = make_plan(network, AVX2)
    found = [kernel for kernel in plan.kernels if kernel.family == "strassen"]
    assert [kernel.rows for kernel in found] == [("14: Conv dw", "15: Conv")] * 5
    for kernel in found:
        assert kernel.shared and plan.tensor(kernel.shared).bytes >= 7 * 98 * 256 * 4
        assert isinstance(kernel.tiles, StrassenTiles) and kernel.recomputed_share == 0
        # Nobody in front of it fetches its weights: it does so itself.
        assert kernel.ahead is None and kernel.tiles.fetches
    before = plan.kernels[plan.kernels.index(found[0]) - 1]
    assert getattr(before.ahead, "floats", 0) == 0
    stored = make_plan(network, AVX2, Precision(weights="float16"))
    assert all(kernel.family != "strassen" for kernel in stored.kernels)
