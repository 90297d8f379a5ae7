"""Every barrier of the GPU kernels is needed, and its absence is seen: without it the emulated kernel goes wrong."""

from __future__ import annotations

import ctypes
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mncc.backend import CudaKernels
from mncc.devices.cuda_on_cpu import KERNEL
from mncc.elaborate import load
from mncc.kernels.gpu_target import GpuTarget
from mncc.kernels.precision import FULL, Precision
from mncc.weights.random_weights import random_weights
from tests.networks.compare import inputs_of
from tests.networks.gpu import HALF, GpuNetwork, small_board

BARRIER = "__syncthreads();"


def with_switches(kernels: CudaKernels) -> tuple[CudaKernels, list[str]]:
    """The source with every barrier under a switch, `dropped_barrier`, and the kernel that each barrier is in."""
    starts = [(found.start(), found[1]) for found in KERNEL.finditer(kernels.source)]
    owners = []

    def switched(found: re.Match[str]) -> str:
        owners.append([name for start, name in starts if start < found.start()][-1])
        return f"if (dropped_barrier != {len(owners) - 1}) {BARRIER}"

    text = re.sub(re.escape(BARRIER), switched, kernels.source)
    return replace(kernels, source='extern "C" { int dropped_barrier = -1; }\n' + text), owners


def goes_wrong(gpu: GpuNetwork, kernel: str, right: dict[str, np.ndarray]) -> bool:
    """True where a launch of the kernel makes something else, in one of the orders of threads, or does not end well."""
    for order in (0, 1, 2, 3):
        try:
            made = gpu.run_one(kernel, right, order)
        except RuntimeError:
            return True
        if not all(np.array_equal(array, right[value]) for value, array in made.items()):
            return True
    return False


@pytest.mark.parametrize(
    "name, settings, target, precision",
    [
        ("mobilenet_v2", {"width": "0.35", "resolution": "96"}, "cuda-sm80", FULL),
        ("mobilenet_v1", {"width": "0.25", "resolution": "64"}, small_board(), FULL),
        ("mobilenet_v2", {"width": "0.35", "resolution": "64"}, "cuda-sm87", HALF),
    ],
)
def test_no_barrier_can_be_left_out(
    name: str, settings: dict[str, str], target: str | GpuTarget, precision: Precision, tmp_path: Path
) -> None:
    network = load(f"examples/{name}.mn", settings)
    owners: list[str] = []

    def changed(kernels: CudaKernels) -> CudaKernels:
        switched, found = with_switches(kernels)
        owners.extend(found)
        return switched

    gpu = GpuNetwork(network, target, random_weights(network, 3), tmp_path, changed, precision)
    right = gpu.run(inputs_of(network))
    dropped = ctypes.c_int.in_dll(gpu.code.library, "dropped_barrier")
    # A softmax's are TVM's own, around its reductions over all threads: two more than it needs.
    plain = {k.symbol for k in gpu.kernels.launches if gpu.plan.kernels[k.kernel].family == "gpu_plain"}
    unseen = []
    for number, kernel in enumerate(owners):
        if kernel in plain:
            continue
        assert not goes_wrong(gpu, kernel, right), f"{kernel} is wrong with all of its barriers"
        dropped.value = number
        if not goes_wrong(gpu, kernel, right):
            unseen.append((number, kernel))
        dropped.value = -1
    assert len(owners) > 20 and not unseen, f"of {len(owners)} barriers these do nothing: {unseen}"
