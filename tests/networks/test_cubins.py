"""Machine code for every architecture: nothing spilled, no more shared memory than planned, and blocks that fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from mncc.backend import compile_cuda
from mncc.elaborate import load
from mncc.kernels.gpu_fused import FusedShape, GpuFused
from mncc.kernels.gpu_product import GpuProduct, ProductShape
from mncc.kernels.gpu_target import FLAG, GpuTarget
from mncc.kernels.gpu_warp_fused import WarpFused, WarpFusedShape
from mncc.kernels.gpu_warp_product import WarpProduct, WarpProductShape
from mncc.kernels.target import target_names
from mncc.library.ptxas import kernel_uses
from mncc.plan import Plan, make_plan
from mncc.verbs.compile_gpu import planned_for
from tests.networks.gpu import HALF, gpu_of, nvcc_or_skip

SHAPES: Mapping[type, Callable[..., Any]] = {
    GpuFused: FusedShape,
    GpuProduct: ProductShape,
    WarpFused: WarpFusedShape,
    WarpProduct: WarpProductShape,
}
GPUS = [name for name, _ in target_names() if name.startswith("cuda-")]


def check(plan: Plan, targets: list[GpuTarget]) -> None:
    nvcc = nvcc_or_skip()
    kernels = compile_cuda(plan)
    uses = kernel_uses(kernels.source, [target.architecture for target in targets], nvcc)
    assert len(uses) == len(targets) * len({launch.symbol for launch in kernels.launches})
    for target in targets:
        for launch in kernels.launches:
            use, planned = uses[target.architecture, launch.symbol], plan.kernels[launch.kernel]
            what = f"{planned.name} on {target.architecture}: {use}"
            assert (use.stack, use.spill_stores, use.spill_loads) == (0, 0, 0), what
            threads = launch.block[0] * launch.block[1] * launch.block[2]
            assert target.resident_blocks(threads, use.registers, use.shared + launch.shared_bytes) > 0, what
            shape = SHAPES.get(type(planned.spec))
            if shape is not None:
                used = use.shared + launch.shared_bytes
                assert used <= shape(planned.spec, planned.tiles).shared_bytes + FLAG, what


def test_one_text_for_every_architecture() -> None:
    every = [gpu_of("cuda-sm80"), *(gpu_of(name) for name in GPUS)]
    check(make_plan(load("examples/mobilenet_v2.mn"), planned_for(tuple(every))), every[1:])


def test_one_text_in_float16() -> None:
    network = load("examples/mobilenet_v2.mn", {"width": "0.35", "resolution": "96"})
    both = [gpu_of("cuda-sm80"), gpu_of("cuda-sm75")]
    check(make_plan(network, planned_for(tuple(both)), HALF), both)


@pytest.mark.full
@pytest.mark.parametrize("name", GPUS)
@pytest.mark.parametrize("network", ["mobilenet_v1", "mobilenet_v2"])
def test_the_plan_for_each_target(network: str, name: str) -> None:
    check(make_plan(load(f"examples/{network}.mn"), gpu_of(name)), [gpu_of(name)])


@pytest.mark.full
@pytest.mark.parametrize("network, name", [("mobilenet_v1", "cuda-sm90"), ("mobilenet_v2", "cuda-sm75")])
def test_plans_in_float16(network: str, name: str) -> None:
    check(make_plan(load(f"examples/{network}.mn"), gpu_of(name), HALF), [gpu_of(name)])
