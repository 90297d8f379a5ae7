"""What is counted of memory: sectors of a warp's accesses, and words of a bank at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mncc.devices.cuda_on_cpu import CudaOnCpu
from mncc.devices.cuda_on_cpu.tracing import Memory, TracedKernels, Traffic

THREADS, BLOCKS, FLOATS = 96, 3, 1 << 14
VALUES = "int t = threadIdx.x; float2 two = make_float2(1, 2); float4 four = make_float4(1, 2, 3, 4);"
HEAD = f'extern "C" __global__ void __launch_bounds__({THREADS}, 1) k(float* __restrict__ data)'


def traced(body: str, folder: Path, blocks: int = BLOCKS, shared: int = 0) -> Traffic:
    """Of a kernel of three warps; its memory begins with a sector."""
    array = np.zeros(FLOATS + 64, np.float32)
    begin = -(-array.ctypes.data // 256) * 256
    code = TracedKernels(f"{HEAD} {{ {VALUES} {body} }}", folder)
    return code.launch("k", (BLOCKS, 1, 1), (THREADS, 1, 1), [(begin, FLOATS * 4)], blocks, shared)


@pytest.mark.parametrize(
    "access, sectors, least",
    [
        ("data[t] = 1", 4, 4),
        ("data[t + 1] = 1", 5, 4),
        ("data[2 * t] = 1", 8, 4),
        ("data[100] = 1", 1, 1),
        ("*(float4*)(data + t * 4) = four", 16, 16),
        ("if (t % 32 < 8) data[t] = 1", 1, 1),
    ],
)
def test_sectors_of_a_request(access: str, sectors: int, least: int, tmp_path: Path) -> None:
    warps = 3 * BLOCKS
    made = traced(access + ";", tmp_path)
    worst = 5 if sectors == 5 else sectors
    assert made.global_memory == Memory(warps, warps * sectors, warps * least, worst)
    assert made.shared_memory == Memory(0, 0, 0, 0) and made.blocks == BLOCKS


@pytest.mark.parametrize(
    "access, ways, groups",
    [
        ("s[t] = 1", 1, 1),
        ("s[2 * t] = 1", 2, 1),
        ("s[t % 32 * 32] = 1", 32, 1),
        ("s[7] = 1", 1, 1),
        ("*(float2*)(s + t * 2) = two", 1, 2),
        ("*(float4*)(s + t * 4) = four", 1, 4),
        ("*(float4*)(s + t % 32 * 20) = four", 1, 4),
        ("*(float4*)(s + t % 32 * 32) = four", 8, 4),
    ],
)
def test_words_of_a_bank(access: str, ways: int, groups: int, tmp_path: Path) -> None:
    made = traced(f"__shared__ alignas(16) float s[1024]; {access};", tmp_path, blocks=1)
    assert made.shared_memory == Memory(3, 3 * ways * groups, 3 * groups, ways)
    assert made.global_memory.requests == 0 and made.blocks == 1


def test_words_of_a_bank_of_shared_memory_of_the_launches_size(tmp_path: Path) -> None:
    made = traced("extern __shared__ float s[]; s[2 * t] = 1;", tmp_path, blocks=1, shared=8 * THREADS + 16)
    assert made.shared_memory == Memory(3, 6, 3, 2)


def test_lanes_that_skip_a_round_of_a_loop_meet_the_others_in_the_next(tmp_path: Path) -> None:
    loop = "for (int i = 0; i < 2; ++i) { if (i + t % 32 > 0) { data[i * 96 + t] = 1; } }"
    made = traced(loop, tmp_path, blocks=1).global_memory
    # Lane 0 comes by once, where the others are in their second round: were it counted with their first, that would
    # take a fifth sector.
    assert made == Memory(6, 24, 24, 4)


def test_launches_that_are_not_traced_run_whole(tmp_path: Path) -> None:
    body = "data[blockIdx.x] = 1;"
    assert traced(body, tmp_path, blocks=1).global_memory.requests == 3
    data, folder = np.zeros(BLOCKS, np.float32), tmp_path / "whole"
    folder.mkdir()
    CudaOnCpu(f"{HEAD} {{ {body} }}", folder).launch("k", (BLOCKS, 1, 1), (THREADS, 1, 1), [data.ctypes.data])
    assert data.tolist() == [1] * BLOCKS
