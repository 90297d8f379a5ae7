"""Plans that compute in float16."""

from __future__ import annotations

import pytest

from mncc.elaborate import load
from mncc.kernels.precision import Precision
from mncc.kernels.target import load_target
from mncc.plan import Plan, make_plan


def plans(name: str) -> tuple[Plan, Plan]:
    """In float32, and in float16."""
    network, target = load(f"examples/{name}.mn"), load_target("arm64-cortex-a76")
    return make_plan(network, target), make_plan(network, target, Precision("float16", "float16"))


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2", "squeezenet"])
def test_all_but_the_caller_s_tensors_are_float16(name: str) -> None:
    full, half = plans(name)
    for tensor in half.tensors.values():
        assert tensor.dtype == ("float16" if tensor.base == "workspace" else "float32")
    assert {kernel.family for kernel in half.kernels} <= {"chain", "plain"}
    assert half.weight_bytes <= 0.52 * full.weight_bytes or any(k.family == "winograd" for k in full.kernels)
    assert half.tensor_bytes <= 0.6 * full.tensor_bytes


def test_kernels_know_the_types_of_their_tensors() -> None:
    _, half = plans("mobilenet_v2")
    first, *others, last = (kernel.spec for kernel in half.kernels)
    assert (first.input_dtype, first.output_dtype) == ("float32", "float16")
    assert all((spec.input_dtype, spec.output_dtype) == ("float16", "float16") for spec in others)
    assert (last.input_dtype, last.output_dtype) == ("float16", "float32")
    assert any(tile.lanes == 8 for kernel in half.kernels for tile in kernel.tiles.stages)
