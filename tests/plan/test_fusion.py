"""What is fused, what it costs, and that nothing expanded exists whole above 28x28."""

from __future__ import annotations

import pytest

from mncc.elaborate import load
from mncc.kernels.chain import Chain, ChainTiles
from mncc.kernels.strassen import StrassenTiles
from mncc.kernels.target import load_target
from mncc.plan import Plan, make_plan

TARGETS = ("x86-64-v3", "x86-64-v4")
V2 = [(w, r) for w in (0.35, 0.5, 0.75, 1.0) for r in (96, 128, 160, 192, 224)] + [(1.3, 224), (1.4, 224)]
V1 = [(w, r) for w in (0.25, 0.5, 0.75, 1.0) for r in (128, 160, 192, 224)]


def plan_of(name: str, target: str, **settings: object) -> Plan:
    """The plan of an example under settings."""
    return make_plan(load(f"examples/{name}.mn", settings), load_target(target))


def expect_small(plan: Plan) -> None:
    """Of every kernel: recomputation under 15 %, and above 28x28 no buffer as large as a whole intermediate tensor."""
    for kernel in plan.kernels:
        assert kernel.recomputed_share < 0.15, kernel.name
        if not isinstance(kernel.spec, Chain):
            continue
        assert isinstance(kernel.tiles, ChainTiles | StrassenTiles)
        for array in kernel.scratch:
            if array.stage > 0:
                stage = kernel.spec.stages[array.stage - 1]
                whole = stage.height * stage.width * stage.channels
                assert array.floats < whole or stage.height * stage.width <= 28 * 28, f"{kernel.name} {array.name}"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("width", "resolution"), V2)
def test_mobilenet_v2(width: float, resolution: int, target: str) -> None:
    plan = plan_of("mobilenet_v2", target, width=width, resolution=resolution)
    expect_small(plan)
    # The stem rides with the first block, the last convolution with the pooling, and every block is in one kernel.
    assert len(plan.kernels) <= 19
    projections = [n.name for k in plan.kernels for n in k.nodes if n.name.endswith("y.norm2")]
    assert len(projections) == 17
    for name in projections:
        block = {n.name for n in plan.kernels[_kernel_of(plan, name)].nodes}
        assert {name.replace("y.norm2", "y.depthwise"), name.replace("y.norm2", "y.conv")} <= block, name
    assert _kernel_of(plan, "r1.0.act") == _kernel_of(plan, "r2.0.y.norm2")


def _kernel_of(plan: Plan, node: str) -> int:
    """The number of the kernel that computes a node."""
    return next(i for i, k in enumerate(plan.kernels) if node in {n.name for n in k.nodes})


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("width", "resolution"), V1)
def test_mobilenet_v1(width: float, resolution: int, target: str) -> None:
    plan = plan_of("mobilenet_v1", target, width=width, resolution=resolution)
    expect_small(plan)
    # The stem rides with the first pair, and no pair is cut; pooling, classifier, softmax.
    pairs = [k for k in plan.kernels if isinstance(k.spec, Chain) and len(k.spec.stages) >= 2]
    assert len(pairs) == len(plan.kernels) - 3 <= 13
    for kernel in pairs:
        assert isinstance(kernel.spec, Chain)
        kinds = [s.kind for s in kernel.spec.stages]
        assert kinds[::-1][::2] == ["conv"] * -(-len(kinds) // 2) and kinds[::-1][1::2] == ["depthwise"] * (
            len(kinds) // 2
        )
    # A pair reads its padding from its input's borders, never from a copy.
    assert not any(k.spec.copies_input for k in pairs[1:] if isinstance(k.spec, Chain))


@pytest.mark.parametrize("target", TARGETS)
def test_workspace_of_mobilenet_v2(target: str) -> None:
    plan = plan_of("mobilenet_v2", target)
    assert plan.workspace_bytes(1) < 1_300_000
    # Nothing at 112x112 is written whole.
    assert max(t.type.shape[1] for t in plan.tensors.values() if t.base == "workspace") == 56
    assert plan.workspace_bytes(2) - plan.workspace_bytes(1) == plan.scratch_bytes


def test_a_batch_of_vectors_is_one_row_of_pixels() -> None:
    classifier = plan_of("mobilenet_v2", "x86-64-v4", batch=8).kernels[-1]
    assert isinstance(classifier.spec, Chain)
    assert (classifier.images, classifier.images_per_call, classifier.spec.width) == (1, 8, 8)


@pytest.mark.parametrize("target", TARGETS)
def test_no_expanded_tensor_is_in_memory(target: str) -> None:
    plan = plan_of("mobilenet_v2", target)
    expanded = [name for name in plan.tensors if ".e." in name or ".y.act" in name]
    assert not expanded


def test_tiles_fit_the_registers() -> None:
    for name in TARGETS:
        target = load_target(name)
        for kernel in plan_of("mobilenet_v2", name, width=0.35).kernels:
            if isinstance(kernel.tiles, ChainTiles):
                for tile in kernel.tiles.stages:
                    assert tile.accumulators <= target.registers - 2, f"{kernel.name}: {tile}"
