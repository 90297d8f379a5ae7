"""Tiles of GPU kernels in float16: those that are not looked at cannot win."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from mncc.kernels import gpu_warp_space as space
from mncc.kernels.chain import Stage
from mncc.kernels.gpu_warp_fused import WarpFused
from mncc.kernels.gpu_warp_product import WarpProduct
from mncc.network.ops import Activation
from tests.networks.gpu import gpu_of

ONE = ((1, 1), (1, 1))
RELU6 = Activation("relu6")
HALF: dict[str, Any] = {"dtype": "float16", "weights_dtype": "float16"}
DEPTHWISE = Stage("depthwise", 7, 7, 96, (3, 3), stride=(2, 2), padding=ONE, activation=RELU6)
BLOCK = WarpFused(
    14, 14, 24, (Stage("conv", 14, 14, 96, activation=RELU6), DEPTHWISE, Stage("conv", 7, 7, 40)), **HALF
)
PAIR = WarpFused(14, 14, 96, (DEPTHWISE, Stage("conv", 7, 7, 40)), **HALF)
LEAD = WarpFused(14, 14, 24, (Stage("conv", 14, 14, 96, activation=RELU6), DEPTHWISE), **HALF)
DEEP = WarpProduct(1, 49, 320, (Stage("conv", 1, 49, 96),), **HALF)


def _all(tiles: Iterable[Any], bounds: object, cost: Callable[[Any], float], dense: Callable[[Any], bool]) -> Any:
    """As `_chosen`, of every single one."""
    costs = [(cost(each), number, each) for number, each in enumerate(tiles)]
    allowed = [each for each in costs if each[0] <= min(costs)[0] * space.MORE and dense(each[2])]
    return min(allowed or costs)[2]


@pytest.mark.parametrize("target", ["cuda-sm75", "cuda-sm87", "cuda-sm90"])
@pytest.mark.parametrize("spec", [BLOCK, PAIR, LEAD, DEEP], ids=["block", "pair", "lead", "deep"])
def test_the_best_of_all_tiles_is_found(
    spec: WarpFused | WarpProduct, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = space.choose_product if isinstance(spec, WarpProduct) else space.choose_fused
    found = choose.__wrapped__(spec, gpu_of(target))
    monkeypatch.setattr(space, "_chosen", _all)
    assert found is not None and found == choose.__wrapped__(spec, gpu_of(target))


@pytest.mark.parametrize("spec", [BLOCK, PAIR, LEAD], ids=["block", "pair", "lead"])
def test_no_tiles_cost_less_than_is_said(spec: WarpFused) -> None:
    gpu = gpu_of("cuda-sm80")
    for tiles in [*space.fused_space(spec, gpu)][::7]:
        assert space._least_fused(spec, tiles, gpu) <= space.predict_fused(spec, tiles, gpu).cost, tiles
