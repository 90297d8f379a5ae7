"""Weights stored as float16: which kernels do, what the numbers become, and which numbers cannot be stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mncc.elaborate import load
from mncc.kernels.precision import Precision, StoredType
from mncc.kernels.target import load_target
from mncc.language.diagnostic import DiagnosticError
from mncc.network.graph import Network
from mncc.plan import Plan, make_plan, pack_weights, stored_tensors
from mncc.plan.pack import fold_norm
from mncc.weights.random_weights import random_weights

TINY = Path("docs/tiny.mn")


def plan_of(network: Network, stored: StoredType = "float16") -> Plan:
    return make_plan(network, load_target("x86-64-v4"), Precision(stored))


def test_all_chains_store_float16_and_winograd_does_not() -> None:
    plan = plan_of(load("examples/squeezenet.mn"))
    types = {(kernel.family, kernel.weights_dtype) for kernel in plan.kernels}
    assert types == {("chain", "float16"), ("winograd", "float32"), ("plain", "float32")}


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v1"])
def test_weights_take_half_the_space(name: str) -> None:
    network = load(f"examples/{name}.mn")
    full, half = plan_of(network, "float32"), plan_of(network)
    assert half.weight_bytes <= 0.52 * full.weight_bytes
    assert half.workspace_bytes(1) <= 1.1 * full.workspace_bytes(1)


def test_folding_gives_the_stored_numbers_again() -> None:
    network = load(TINY)
    plan, tensors = plan_of(network), random_weights(network, 3).tensors
    held = stored_tensors(plan, tensors)
    changed = 0
    for kernel in plan.kernels:
        for source in kernel.sources if kernel.weights_dtype == "float16" else ():
            stored = fold_norm(source, tensors, "float16")["kernel"]
            assert np.array_equal(stored, stored.astype(np.float16))
            assert np.array_equal(fold_norm(source, held)["kernel"], stored)
            changed += not np.array_equal(fold_norm(source, tensors)["kernel"], stored)
    assert changed == 8
    assert np.array_equal(pack_weights(plan, held), pack_weights(plan, tensors))


def test_a_channel_that_its_norm_switches_off() -> None:
    network = load(TINY)
    tensors = dict(random_weights(network, 3).tensors)
    gamma = tensors["r2.0.e.norm", "gamma"].copy()
    gamma[[0, 7]] = 0
    tensors["r2.0.e.norm", "gamma"] = gamma
    held = stored_tensors(plan_of(network), tensors)
    assert np.isfinite(held["r2.0.e.conv", "kernel"]).all()


def test_float32_keeps_every_number() -> None:
    network = load(TINY)
    tensors = random_weights(network, 3).tensors
    assert stored_tensors(plan_of(network, "float32"), tensors) == tensors


@pytest.mark.parametrize("name, factor", [("past_half", 1e6), ("below_half", 1e-7)])
def test_weights_that_float16_cannot_hold(
    name: str, factor: float, golden: Callable[[Path, str], None]
) -> None:
    network = load(TINY)
    weights = random_weights(network, 3)
    key = ("r2.0.y.conv", "kernel")
    weights = replace(weights, tensors={**weights.tensors, key: weights.tensors[key] * np.float32(factor)})
    with pytest.raises(DiagnosticError) as caught:
        stored_tensors(plan_of(network), weights.tensors)
    (only,) = caught.value.diagnostics
    golden(Path(__file__).parent / "errors" / f"{name}.err", only.render() + "\n")
