"""--weights-dtype and --dtype: what they mean, and for which CPUs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mncc.kernels.precision import FULL, Precision
from mncc.kernels.target import cpu_targets, load_machine, load_target
from mncc.report.failures import UsageError
from mncc.verbs.precision import find_precision

A76 = load_target("arm64-cortex-a76")


def test_types() -> None:
    assert find_precision("float32", "float32", A76) == FULL
    assert find_precision("float16", "float32", load_target("native")) == Precision("float16")
    assert find_precision("float32", "float16", A76) == Precision("float16", "float16")
    for wrong in (("bfloat16", "float32"), ("float32", "int8")):
        with pytest.raises(UsageError, match="no such type"):
            find_precision(*wrong, A76)


def test_all_targets_convert_float16() -> None:
    assert all(target.converts_half for target in cpu_targets())
    old = replace(load_target("armv7"), name="armv7-vfp3", requires=("neon",))
    with pytest.raises(UsageError, match="armv7-vfp3 has no instructions that convert float16") as caught:
        find_precision("float16", "float32", old)
    assert "x86-64-v3" in str(caught.value.help) and "arm64" in str(caught.value.help)


@pytest.mark.parametrize("name", ["arm64-cortex-a72", "arm64-cortex-a53", "arm64", "armv7", "x86-64-v4"])
def test_a_cpu_without_arithmetic_of_float16(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} has no instructions that compute in float16") as caught:
        find_precision("float32", "float16", load_target(name))
    able = "arm64-apple, arm64-cortex-a55, arm64-cortex-a76, arm64-neoverse-n1"
    assert caught.value.help == f"leave it out, or build for one of {able}"


def test_gpus_multiply_one_type() -> None:
    gpu = load_machine("cuda-sm80")
    assert find_precision("float32", "float16", gpu) == Precision("float16", "float16")
    assert find_precision("float32", "float32", gpu) == FULL
    with pytest.raises(UsageError, match="float32 with float32, or float16 with float16") as caught:
        find_precision("float16", "float32", gpu)
    assert "--dtype float16" in str(caught.value.help)
