"""How far apart the pixels of tensors lie."""

from __future__ import annotations

import pytest

from mncc.elaborate import load
from mncc.kernels.target import load_target
from mncc.plan import make_plan


@pytest.mark.parametrize(
    ("target", "spread"),
    [("x86-64-v3", {256, 512, 1024}), ("x86-64-v4", {256, 512, 1024}), ("arm64-cortex-a76", set())],
)
def test_windows_read_pixels_from_different_sets_of_the_l1_cache(target: str, spread: set[int]) -> None:
    """On x86, those of MobileNetV1's depthwise stages whose pixels would lie a multiple of 1024 bytes apart."""
    plan = make_plan(load("examples/mobilenet_v1.mn", {}), load_target(target))
    tensors = [tensor for tensor in plan.tensors.values() if tensor.base == "workspace" and any(map(any, tensor.pads))]
    assert tensors
    assert {tensor.type.shape[-1] for tensor in tensors if tensor.spare} == spread
    for tensor in tensors:
        pitch = (tensor.type.shape[-1] + tensor.spare) * 4
        assert not spread or pitch % 1024


def test_no_kernel_spreads_what_it_reads_by_vectors() -> None:
    """A pooling kernel goes over its input once, and a network's own input lies as its caller has it."""
    plan = make_plan(load("examples/mobilenet_v1.mn", {}), load_target("x86-64-v4"))
    assert not plan.tensors["r19.0.act"].spare and not plan.tensors["image"].spare
