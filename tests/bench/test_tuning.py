"""What the comparison with plain MetaSchedule gives it, and how it counts trials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.heats import random_arrays
from bench.tuning import Compared, Searched, costs_in_order, in_te
from mncc.kernels.chain import Chain, Stage
from mncc.network.ops import Activation

RELU6 = Activation("relu6")
AROUND = ((1, 1), (1, 1))


def convolved(x: np.ndarray, stage: Stage, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """A convolution with bias in float64, one tap after the other."""
    padded = np.pad(x, (*stage.padding, (0, 0)))
    out = np.zeros((stage.height, stage.width, stage.channels)) + arrays["bias"]
    for dy, dx in np.ndindex(stage.kernel):
        ends = zip((dy, dx), stage.stride, out.shape, strict=False)
        rows, cols = (slice(d, d + s * (n - 1) + 1, s) for d, s, n in ends)
        part, kernel = padded[rows, cols], arrays["kernel"][dy, dx]
        out += part * kernel[:, 0] if stage.kind == "depthwise" else part @ kernel
    return np.clip(out, 0, 6) if stage.activation else out


@pytest.mark.parametrize("stride", [1, 2])
def test_the_kernel_in_te_computes_what_the_chain_does(stride: int) -> None:
    import tvm

    size = 8 // stride
    stages = (
        Stage("conv", 8, 8, 12, activation=RELU6),
        Stage("depthwise", size, size, 12, (3, 3), (stride, stride), AROUND, activation=RELU6),
        Stage("conv", size, size, 4),
    )
    chain = Chain(8, 8, 4, stages, residual=stride == 1)
    module, shapes = in_te(chain)
    arrays, random = random_arrays(chain), np.random.default_rng(3)
    images = [random.standard_normal(shape, dtype=np.float32) for shape in shapes[: 1 + chain.residual]]
    weights = [each[name] for each in arrays for name in ("kernel", "bias")]
    placed = [each.reshape(shape) for each, shape in zip([*images, *weights], shapes, strict=False)]
    given = [tvm.runtime.tensor(np.ascontiguousarray(each), tvm.cpu()) for each in placed]
    out = tvm.runtime.empty(shapes[-1], "float32", tvm.cpu())
    tvm.compile(module, "llvm")["main"](*given, out)
    expected = images[0].astype(np.float64)
    for stage, each in zip(stages, arrays, strict=True):
        expected = convolved(expected, stage, each)
    if chain.residual:
        expected = expected + images[1]
    np.testing.assert_allclose(out.numpy(), expected, atol=1e-5)


def test_a_search_needed_the_trials_until_it_was_near_its_best() -> None:
    assert Searched((9.0, None, 5.05, 5.0), 60.0).needed == 3
    assert Searched((None, None), 60.0).needed == 0


def test_a_search_that_found_nothing_has_no_time_in_the_table() -> None:
    own, plain = Searched((2e-6, 1e-6), 90.0), Searched((None, None), 180.0)
    found = Compared("tiny", "k01", "x86-64-v4", 2, 2.0, 1.0, None, own, plain)
    assert found.cells() == ("k01", "2.0", "1.0", "-", "-", "2", "0", "1.5", "3.0")


def test_costs_are_in_the_order_in_which_they_were_measured(tmp_path: Path) -> None:
    """MetaSchedule's database answers its records by cost."""
    from tvm.s_tir import Schedule
    from tvm.s_tir import meta_schedule as ms

    module, _ = in_te(Chain(4, 4, 8, (Stage("conv", 4, 4, 8),)))
    database = ms.database.JSONDatabase(work_dir=str(tmp_path))
    workload, trace = database.commit_workload(module), Schedule(module).trace
    for seconds in ([4e-6, 4e-6], [2e-6], [1e10], [1e-6]):
        database.commit_tuning_record(ms.database.TuningRecord(trace, workload, seconds))
    assert costs_in_order(tmp_path) == (4e-6, 2e-6, None, 1e-6)
