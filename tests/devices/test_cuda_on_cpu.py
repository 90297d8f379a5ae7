"""Kernels on the CPU: what a GPU does, and what it does not say: barriers that are missing or not met, memory that
nobody wrote, blocks that are counted too early."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mncc.devices.cuda_on_cpu import CudaOnCpu
from mncc.devices.loaded import aligned_empty
from mncc.language.diagnostic import OutsideError

THREADS = 96
NAMES = ("fragment_load", "fragment_load_transposed", "fragment_multiply", "fragment_store")


def functions(*names: str) -> str:
    """What the kernels' text has of them."""
    return "\n".join(Path(f"mncc/schedules/cuda/{name}.cuh").read_text() for name in names)


FUNCTIONS = functions(*NAMES)
HEAD = f'extern "C" __global__ void __launch_bounds__({THREADS}, 1) k(float* out, unsigned* counter)'


def run(body: str, folder: Path, order: int = 0, blocks: int = 1) -> np.ndarray:
    """What a kernel `k` of three warps writes into `out`."""
    code = CudaOnCpu(f"#include <cuda_fp16.h>\n{HEAD} {{ {body} }}", folder)
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


SIZED = REVERSED.replace(f"__shared__ float s[{THREADS}]", "extern __shared__ __align__(16) float s[]")


def run_sized(body: str, folder: Path, shared: int, order: int = 0) -> np.ndarray:
    """As `run`, with so many bytes of dynamic shared memory."""
    code, out = CudaOnCpu(f"{HEAD} {{ {body} }}", folder), np.full(THREADS * 2, -1, np.float32)
    code.launch("k", (2, 1, 1), (THREADS, 1, 1), [out.ctypes.data, 0], order, shared)
    return out


@pytest.mark.parametrize("order", range(4))
def test_shared_memory_of_the_launches_size(order: int, tmp_path: Path) -> None:
    made = run_sized(SIZED.replace("BARRIER", "__syncthreads();"), tmp_path, 4 * THREADS, order)
    assert made.tolist() == [*range(THREADS - 1, -1, -1)] * 2


def test_it_holds_nan_in_every_block(tmp_path: Path) -> None:
    assert np.isnan(run_sized(SIZED.replace("BARRIER", ""), tmp_path, 4 * THREADS)).any()


@pytest.mark.parametrize(
    "shared, reason", [(0, "its launch asks for no dynamic shared memory"), (228 << 10, "more dynamic shared memory")]
)
def test_a_launch_with_the_wrong_size_is_an_error(shared: int, reason: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=reason):
        run_sized(SIZED.replace("BARRIER", "__syncthreads();"), tmp_path, shared)


def test_behind_it_is_a_page_that_nobody_may_touch(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, tests.devices.test_cuda_on_cpu as t; "
        "body, folder, shared = sys.argv[1:]; t.run_sized(body, pathlib.Path(folder), int(shared))"
    )
    body = SIZED.replace("s[t] = t", f"s[t + {THREADS}] = t").replace("BARRIER", "__syncthreads();")
    codes = []
    for shared in (8 * THREADS, 4 * THREADS):
        command = [sys.executable, "-c", program, body, str(tmp_path), str(shared)]
        codes.append(subprocess.run(command, capture_output=True, check=False).returncode)
    assert codes == [0, -signal.SIGSEGV]


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


FRAGMENTS = f"""
#include <cuda_fp16.h>
{FUNCTIONS}
extern "C" __global__ void __launch_bounds__({THREADS}, 1) k(float* out, half* left, half* right) {{
    unsigned a[4], b[4];
    float c[8];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, row = lane % 16 * 16 + lane / 16 * 8;
    FILL
    fragment_load(a, AT);
    fragment_load_transposed(b, right + warp * 256 + row);
    fragment_multiply(c, a, b);
    float* first = out + warp * 256 + lane / 4 * 16 + lane % 4 * 2;
    fragment_store(first, first + 8, 8 * 16, c);
}}
"""
FILL = "for (int i = 0; i < 8; ++i) c[i] = 0.5f;"
AT = "left + warp * 256 + row"


def products(folder: Path, order: int = 0, before: str = "", at: str = AT) -> tuple[np.ndarray, np.ndarray]:
    """What three warps make of matrices of 16 x 16, and what they should."""
    code = CudaOnCpu(FRAGMENTS.replace("FILL", FILL + before).replace("AT", at), folder)
    arrays = [aligned_empty(THREADS // 32 * 256 * 4).view(np.float32), *(aligned_empty(2048) for _ in range(2))]
    out, *given = [arrays[0], *(array.view(np.float16) for array in arrays[1:])]
    rng = np.random.default_rng(1)
    for array in given:
        array[:] = rng.standard_normal(array.size)
    code.launch("k", (1, 1, 1), (THREADS, 1, 1), [array.ctypes.data for array in (out, *given)], order)
    left, right = (array[:768].reshape(3, 16, 16).astype(np.float32) for array in given)
    return out.reshape(3, 16, 16), left @ right + 0.5


@pytest.mark.parametrize("order", range(3))
def test_a_warp_multiplies_fragments(order: int, tmp_path: Path) -> None:
    made, expected = products(tmp_path, order)
    assert np.abs(made - expected).max() < 1e-5


STAGED = """
    __shared__ half staged[768];
    for (int i = 0, at = warp * 256 + (31 - lane) * 8; i < 8; ++i) staged[at + i] = left[at + i];
"""


def test_a_warp_waits_for_what_its_lanes_write(tmp_path: Path) -> None:
    made, expected = products(tmp_path, before=STAGED + "__syncwarp();", at="staged + warp * 256 + row")
    assert np.abs(made - expected).max() < 1e-5


def test_rows_that_other_lanes_have_yet_to_write_are_missing(tmp_path: Path) -> None:
    assert np.isnan(products(tmp_path, before=STAGED, at="staged + warp * 256 + row")[0]).any()


def test_a_row_that_a_gpu_would_refuse(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a row of a matrix is not aligned to 16 bytes"):
        products(tmp_path, at="left + warp * 256 + row + 4")


HALVES = """
    half a = (half)(1.0f + 0x1p-11f), b = (half)(1.0f + 0x1.8p-10f), c = (half)65520.0f;
    half2 sums = __hfma2(half2{b, a}, half2{b, a}, half2{(half)-1.0f, (half)0x1p-24f});
    float made[] = {a, b, c, sums.x, sums.y};
    out[threadIdx.x] = made[threadIdx.x % 5];
"""


def test_float16_rounds_once_to_even(tmp_path: Path) -> None:
    made = run(HALVES, tmp_path)
    two = np.float16(1 + 2**-9)
    assert made[:3].tolist() == [1, two, np.inf]
    assert made[3:5].tolist() == [np.float16(float(two) ** 2 - 1), 1]


CLIPPED = """
    half nan = (half)__builtin_nanf(""), low = (half)-1.0f, high = (half)7.0f;
    half2 two = __floats2half2_rn(0x1.002p0f, 7.0f), least = __hmax2_nan(half2{nan, low}, __float2half2_rn(0.0f));
    half2 most = __hmin2_nan(__float2half2_rn(6.0f), half2{nan, high});
    float made[] = {two.x, two.y, least.x, least.y, most.x, most.y};
    out[threadIdx.x] = made[threadIdx.x % 6];
"""


def test_two_float16_numbers_are_clipped_and_nan_stays(tmp_path: Path) -> None:
    assert str(run(CLIPPED, tmp_path)[:6].tolist()) == "[1.0, 7.0, nan, 0.0, nan, 6.0]"


CLIPS = ("half2_relu", "half2_at_most", "half2_at_most_6")
CLIP = """
#define CLIP(of, made)                       \\
    for (int i = 0; i < 3; ++i) of half2_relu((half*)(made + i)); \\
    of half2_at_most((half*)(made + 1), most); \\
    of half2_at_most_6((half*)(made + 2));
"""
EVERY = """
    half most[] = {(half)0.0f, (half)1.5f};
    unsigned wrong = 0;
    for (unsigned bits = threadIdx.x; bits < 65536; bits += blockDim.x) {
        /* Each number beside another, so that none takes its neighbour's part. */
        unsigned pair = bits | (bits * 40503u + 1 & 65535) << 16, rounded, made[2][3];
        float sums[] = {((half*)&pair)[0], ((half*)&pair)[1]};
        half2_rounded_relu((half*)&rounded, sums);
        for (int i = 0; i < 3; ++i) made[0][i] = made[1][i] = pair;
        CLIP(, made[0])
        CLIP(later::, made[1])
        for (int i = 0; i < 3; ++i) wrong += made[0][i] != made[1][i];
        wrong += rounded != made[0][0];
    }
    out[threadIdx.x] = wrong;
"""


def test_two_float16_numbers_are_clipped_as_one_instruction_of_later_gpus_clips_them(tmp_path: Path) -> None:
    later = f"#define __CUDA_ARCH__ 800\nnamespace later {{\n{functions(*CLIPS)}\n}}\n#undef __CUDA_ARCH__\n"
    text = f"{CLIP}{later}{functions(*CLIPS, 'half2_rounded_relu')}\n{HEAD} {{ {EVERY} }}"
    code = CudaOnCpu(f"#include <cuda_fp16.h>\n{text}", tmp_path)
    out, counter = np.full(THREADS, -1, np.float32), np.zeros(1, np.uint32)
    code.launch("k", (1, 1, 1), (THREADS, 1, 1), [out.ctypes.data, counter.ctypes.data], 0)
    assert not out.any()


def test_what_is_no_kernel_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match=r"g\+\+ refuses the kernels: .*error: .*nonsense.*\Z"):
        CudaOnCpu(f"{HEAD} {{ nonsense }}", tmp_path)
