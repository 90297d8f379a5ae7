"""Kernels on the CPU: what a GPU does, and what it does not say: barriers that are missing or not met, memory that
nobody wrote, blocks that are counted too early."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mncc.devices.cuda_on_cpu import CudaOnCpu
from mncc.language.diagnostic import OutsideError

THREADS = 96
HEAD = f'extern "C" __global__ void __launch_bounds__({THREADS}, 1) k(float* out, unsigned* counter)'


def run(body: str, folder: Path, order: int = 0, blocks: int = 1) -> np.ndarray:
    """What a kernel `k` of three warps writes into `out`."""
    code = CudaOnCpu(f"{HEAD} {{ {body} }}", folder)
    out, counter = np.full(THREADS * blocks, -1, np.float32), np.zeros(1, np.uint32)
    code.launch("k", (blocks, 1, 1), (THREADS, 1, 1), [out.ctypes.data, counter.ctypes.data], order)
    return out


REVERSED = f"""
    __shared__ float s[{THREADS}];
    int t = threadIdx.x;
    s[t] = t;
    BARRIER
    out[blockIdx.x * {THREADS} + t] = s[{THREADS} - 1 - t];
"""


@pytest.mark.parametrize("order", range(4))
def test_threads_meet_at_a_barrier(order: int, tmp_path: Path) -> None:
    made = run(REVERSED.replace("BARRIER", "__syncthreads();"), tmp_path, order, blocks=3)
    assert made.tolist() == [*range(THREADS - 1, -1, -1)] * 3


@pytest.mark.parametrize("order", range(4))
def test_a_missing_barrier_shows(order: int, tmp_path: Path) -> None:
    made = run(REVERSED.replace("BARRIER", ""), tmp_path, order, blocks=2)
    assert np.isnan(made).any(), "shared memory holds NaN, in the second block too"


def test_a_barrier_that_some_threads_miss_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"block \(0, 0, 0\): not all threads of the block reach __syncthreads"):
        run("if (threadIdx.x < 40) __syncthreads();", tmp_path)


def test_a_warp_barrier_that_some_lanes_miss_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not all threads of a warp"):
        run("if (threadIdx.x % 2) __syncwarp(); else __syncthreads();", tmp_path)


def test_a_launch_behind_an_error_works(tmp_path: Path) -> None:
    code = CudaOnCpu(f"{HEAD} {{ if (*counter && threadIdx.x) __syncthreads(); out[threadIdx.x] = 7; }}", tmp_path)
    out, counter = np.zeros(THREADS, np.float32), np.ones(1, np.uint32)
    pointers = [out.ctypes.data, counter.ctypes.data]
    with pytest.raises(RuntimeError):
        code.launch("k", (1, 1, 1), (THREADS, 1, 1), pointers)
    counter[0] = 0
    code.launch("k", (1, 1, 1), (THREADS, 1, 1), pointers)
    assert (out == 7).all()


def test_lanes_exchange_values(tmp_path: Path) -> None:
    made = run("out[threadIdx.x] = __shfl_down_sync(~0u, (float)threadIdx.x, 4);", tmp_path)
    lanes = np.arange(THREADS) % 32
    assert made.tolist() == (np.arange(THREADS) + np.where(lanes < 28, 4, 0)).tolist()


COUNTED = """
    __shared__ unsigned s[1];
    out[blockIdx.x * blockDim.x + threadIdx.x] = 1;
    __threadfence();
    BARRIER
    if (threadIdx.x == 0) s[0] = atomicInc(counter, gridDim.x - 1);
    __syncthreads();
    if (s[0] == gridDim.x - 1) out[threadIdx.x] = out[threadIdx.x] + out[blockDim.x + threadIdx.x];
"""


@pytest.mark.parametrize("order", range(3))
def test_the_last_block_sees_what_the_others_left(order: int, tmp_path: Path) -> None:
    made = run(COUNTED.replace("BARRIER", "__syncthreads();"), tmp_path, order, blocks=2)
    assert made.tolist() == [2] * THREADS + [1] * THREADS


def test_a_block_that_is_counted_too_early_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="counted before"):
        run(COUNTED.replace("BARRIER", ""), tmp_path, blocks=2)


def test_the_maximum_of_a_number_and_nan_is_the_number(tmp_path: Path) -> None:
    made = run("float n = __builtin_nanf(\"\"); out[threadIdx.x] = max(n, 3.0f) + min(4.0f, n);", tmp_path)
    assert (made == 7).all()


def test_what_is_no_kernel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match="g\\+\\+ refuses"):
        CudaOnCpu(f"{HEAD} {{ nonsense }}", tmp_path)
