"""Which weights kernels fetch for those behind them."""

from __future__ import annotations

import pytest

from mncc.elaborate import load
from mncc.kernels.ahead import Ahead, NextRows
from mncc.kernels.target import load_target
from mncc.plan import Plan, make_plan

TARGETS = ["x86-64-v3", "x86-64-v4"]


def plan_of(name: str, target: str, **settings: object) -> Plan:
    """The plan of an example."""
    return make_plan(load(f"examples/{name}.mn", {k: str(v) for k, v in settings.items()}), load_target(target))


def fetched(plan: Plan) -> list[tuple[int, int]]:
    """First and last byte (exclusive) that each kernel fetches for others, in their order."""
    runs = []
    for kernel in plan.kernels:
        if isinstance(kernel.ahead, Ahead) and kernel.ahead.floats:
            first = kernel.weights_offset + kernel.ahead.start * 4
            assert first >= kernel.weights_offset + kernel.weight_floats * 4
            runs.append((first, first + kernel.ahead.floats * 4))
    return runs


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "resnet50"])
def test_fetches_are_in_order_and_inside(name: str, target: str) -> None:
    plan = plan_of(name, target)
    runs = fetched(plan)
    assert runs
    end = 0
    for first, last in runs:
        assert first >= end and first % 64 == 0 and last > first
        end = last
    assert end <= plan.weight_bytes


def test_the_classifier_is_fetched_whole() -> None:
    """By the pooling kernel, which fetches its own weights too, and by the one before it."""
    plan = plan_of("mobilenet_v2", "x86-64-v4")
    pool, classifier = plan.kernels[-2:]
    assert plan.kernels[-3].ahead is not None and isinstance(pool.ahead, Ahead) and pool.ahead.own is not None
    before, last = fetched(plan)[-2:]
    assert before[0] == classifier.weights_offset and before[1] == last[0]
    assert last[1] == plan.weight_bytes == classifier.weights_offset + classifier.weight_floats * 4


def test_short_kernels_share_out_what_a_long_one_needs() -> None:
    """Few multiplications before 5 MB of a classifier: the fetching begins several kernels before."""
    runs = fetched(plan_of("mobilenet_v2", "x86-64-v4", width=0.35, resolution=96))
    classifier = sum(last - first for first, last in runs)
    assert len(runs) > 3 and classifier > 1 << 20


def test_nothing_is_fetched_where_nobody_waits() -> None:
    """Weights of few bytes, kernels of many pixels, and a batch, whose images all read them."""
    plan = plan_of("mobilenet_v1", "x86-64-v4")
    assert not isinstance(plan.kernels[0].ahead, Ahead)
    assert not fetched(make_plan(load("docs/tiny.mn", {}), load_target("x86-64-v4")))
    assert not fetched(plan_of("mobilenet_v2", "x86-64-v4", batch=4))


def test_long_products_fetch_their_own_next_panels() -> None:
    """Those that read every panel once, behind a depthwise stage or alone, where the target gains by it."""

    def own(target: str) -> list[int]:
        kernels = enumerate(plan_of("mobilenet_v1", target).kernels)
        return [number for number, kernel in kernels if isinstance(kernel.ahead, Ahead) and kernel.ahead.own]

    assert own("x86-64-v4") == list(range(2, 10)) and not own("arm64-cortex-a76")
    assert own("x86-64-v3") == [3, 9, 10]  # and between these Strassen's products do, in their own way


def test_own_panels_are_fetched_as_slowly_as_memory_delivers() -> None:
    """A step of AVX2's tiles takes six cycles, in which no line of 64 bytes arrives."""

    def rates(target: str) -> set[int]:
        ahead = [kernel.ahead for kernel in plan_of("mobilenet_v1", target).kernels]
        return {each.own.rate for each in ahead if isinstance(each, Ahead) and each.own}

    assert rates("x86-64-v4") == {16} and rates("x86-64-v3") == {4, 8}


def test_kernels_that_wait_are_the_same_whatever_the_l2_cache() -> None:
    """What it cannot hold lies in the L3 cache until it is needed."""
    fetching = [
        [kernel.name for kernel in plan_of("mobilenet_v2", target).kernels if isinstance(kernel.ahead, Ahead)]
        for target in TARGETS
    ]
    last = "k15_bottleneck"  # Its tiles fetch nothing where those of the pooling kernel have time for all.
    assert [name for name in fetching[0] if name != last] == [name for name in fetching[1] if name != last]
    assert load_target(TARGETS[0]).l2 < load_target(TARGETS[1]).l2


def test_products_of_many_pixels_fetch_the_input_of_the_next_step() -> None:
    """Where the target gains by it; of a batch too, whose images each have an input."""

    def rows(target: str, **settings: int) -> list[int]:
        kernels = enumerate(plan_of("mobilenet_v1", target, **settings).kernels)
        return [number for number, kernel in kernels if isinstance(kernel.ahead, NextRows)]

    assert rows("x86-64-v4") == rows("x86-64-v4", batch=2) == [0, 1] and not rows("arm64-cortex-a76")
