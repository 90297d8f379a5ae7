"""`mncc bench --static`: what its columns say of small and of published networks, with and without nvcc."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mncc.library.nvcc as nvcc_module
import mncc.plan.gpu as plan_gpu
from mncc.backend import compile_cuda
from mncc.elaborate import load
from mncc.kernels.chain import Chain
from mncc.kernels.gpu_time import GpuPrediction
from mncc.kernels.gpu_warp_fused import WarpFused
from mncc.kernels.precision import FULL, Precision
from mncc.kernels.target import target_names
from mncc.plan import make_plan
from mncc.report.console import show
from mncc.report.failures import UsageError
from mncc.verbs import static
from mncc.verbs.job import find_target
from mncc.verbs.static import static_report
from tests.networks.gpu import HALF, gpu_of, nvcc_or_skip

TINY = "docs/tiny.mn"


def test_without_nvcc_the_rest_is_there_and_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(nvcc_module, "_candidates", lambda: iter(()))
    report = static_report(TINY, {}, "cuda-sm80")
    assert "nvcc" in report.note and all(kernel.registers is None for kernel in report.kernels)
    assert all(kernel.sectors is not None for kernel in report.kernels)
    assert all(kernel.blocks > 0 and kernel.resident > 0 and kernel.unique_bytes > 0 for kernel in report.kernels)
    assert [bound.board for bound in report.bounds] == ["A100 SXM 40 GB", "Jetson AGX Orin 64 GB", "H100 SXM"]
    show(*report.tables())
    text = capsys.readouterr().out
    assert "static, not timed" in text and "5 launches" in text and "missing" in text


def test_in_float16_the_peak_is_that_of_the_tensor_cores() -> None:
    described = make_plan(load(TINY), gpu_of("cuda-sm80"), HALF).kernels[0].predict(gpu_of("cuda-sm80")).describe()
    assert "tensor cores' peak" in described and "FMA" not in described


def test_its_json_says_that_nothing_was_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvcc_module, "_candidates", lambda: iter(()))
    told = json.loads(static_report(TINY, {}, "cuda-sm87").json())
    assert told["timed"] is False and told["target"] == "cuda-sm87" and len(told["kernels"]) == 5


@pytest.mark.parametrize("precision", [FULL, HALF], ids=["float32", "float16"])
def test_the_bytes_counted_from_tiles_are_those_that_blocks_move(
    precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static, "SAMPLE", 2**32 - 1)
    machine = gpu_of("cuda-sm80")
    plan = make_plan(load("examples/mobilenet_v2.mn", {"width": "0.35", "resolution": "64"}), machine, precision)
    kernels = compile_cuda(plan)
    traffic = static._traced(plan, kernels)
    counted = {number: plan.kernels[number].predict(machine) for number in traffic}
    for number, memory in traffic.items():
        predicted, moved = counted[number], 32 * memory.global_memory.units
        assert isinstance(predicted, GpuPrediction)
        # Sectors that are not full, above all those of a picture of three channels; and biases.
        assert 0.95 < moved / predicted.moved < 1.25, (plan.kernels[number].name, moved, predicted.moved)
    whole = sum(32 * memory.global_memory.units for memory in traffic.values())
    assert 0.98 < whole / sum(each.moved for each in counted.values() if isinstance(each, GpuPrediction)) < 1.08


POINTWISE = """
network n
defaults padding symmetric
input image: 14x14x96
output y = image -> conv 1x1 160 -> conv 1x1 960 -> conv 1x1 320 -> conv 1x1 1280
"""


def test_half_of_a_pointwise_products_loop_are_instructions_of_tensor_cores(tmp_path: Path) -> None:
    nvcc_or_skip()
    file = tmp_path / "n.mn"
    file.write_text(POINTWISE, encoding="utf-8")
    report = static_report(file, {}, "cuda-sm80", "float16", "float16")
    assert len(report.kernels) == 4 and not report.note
    # The first reads float32, number by number.
    for kernel in report.kernels[1:]:
        assert kernel.spilled_bytes == 0, kernel
        # Of a kernel without any loop the whole is no loop either.
        assert kernel.product_share is not None and kernel.product_share >= 0.5, kernel
        assert kernel.wide_loads == 1.0, kernel
        assert kernel.worst_bank_ways is not None and kernel.worst_bank_ways <= 2, kernel


@pytest.mark.full
def test_mobilenet_v2_in_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    nvcc_or_skip()
    monkeypatch.setattr(static, "SAMPLE", 1)
    report = static_report("examples/mobilenet_v2.mn", {}, "cuda-sm80", "float16", "float16")
    assert len(report.kernels) <= 20 and report.read_again < 3
    for kernel in report.kernels:
        assert kernel.spilled_bytes == 0, kernel
        assert kernel.worst_bank_ways is not None and kernel.worst_bank_ways <= 2, kernel
        assert kernel.bank_ways is not None and kernel.bank_ways < 1.11, kernel
        assert kernel.product_share is not None and kernel.product_share > 0.25, kernel
    # In the others the loop is an expansion 16 or 32 deep, whose sums take more than their products (docs/gpu.md).
    dense = [kernel for kernel in report.kernels if (kernel.multiply_share or 0) >= 0.5 and kernel.wide_loads == 1]
    assert [int(kernel.name[1:3]) for kernel in dense] == [1, *range(4, 20)]


@pytest.mark.full
@pytest.mark.parametrize("target", [name for name, _ in target_names() if name.startswith("cuda-")])
@pytest.mark.parametrize("network, launches", [("mobilenet_v1", 23), ("mobilenet_v2", 23), ("shufflenet_v1", 55)])
def test_bytes_are_moved_three_times_in_float16(network: str, launches: int, target: str) -> None:
    machine = gpu_of(target)
    plan = make_plan(load(f"examples/{network}.mn"), machine, HALF)
    predicted = [kernel.predict(machine) for kernel in plan.kernels]
    moved, unique = (sum(getattr(each, part) for each in predicted) for part in ("moved", "unique"))
    assert len(plan.kernels) <= launches and moved < 3 * unique, (len(plan.kernels), moved / unique)


def test_a_cpu_is_to_be_timed_and_a_gpu_is_not() -> None:
    with pytest.raises(UsageError, match="CPU"):
        static_report(TINY, {}, "x86-64-v3")
    with pytest.raises(UsageError, match="`cuda-sm80` is a GPU") as error:
        find_target("cuda-sm80")
    assert "`bench --static`" in (error.value.help or "")


@pytest.mark.full
@pytest.mark.parametrize("target", [name for name, _ in target_names() if name.startswith("cuda-")])
@pytest.mark.parametrize("network", ["mobilenet_v1", "mobilenet_v2"])
def test_no_bank_of_shared_memory_is_asked_twice_at_once(
    network: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(nvcc_module, "_candidates", lambda: iter(()))
    report = static_report(f"examples/{network}.mn", {}, target)
    conflicts = [kernel for kernel in report.kernels if kernel.worst_bank_ways not in (1, None)]
    assert len(report.kernels) >= 15 and not conflicts


@pytest.mark.full
@pytest.mark.parametrize("target", [name for name, _ in target_names() if name.startswith("cuda-")])
@pytest.mark.parametrize("network", ["mobilenet_v1", "shufflenet_v1"])
def test_depthwise_convolutions_alone_ask_no_bank_twice_in_float16(
    network: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(nvcc_module, "_candidates", lambda: iter(()))
    monkeypatch.setattr(static, "SAMPLE", 1)
    file = f"examples/{network}.mn"
    plan = make_plan(load(file), gpu_of(target), HALF)
    report = static_report(file, {}, target, "float16", "float16")
    specs = [getattr(each, "spec", None) for each in plan.kernels]
    alone = [
        kernel
        for kernel, spec in zip(report.kernels, specs, strict=True)
        if isinstance(spec, WarpFused) and not spec.lead and not spec.tail
    ]
    assert alone and all(kernel.worst_bank_ways == 1 for kernel in alone)


def test_mobilenet_v2_is_about_twenty_launches_of_multiply_adds() -> None:
    nvcc_or_skip()
    report = static_report("examples/mobilenet_v2.mn", {}, "cuda-sm80")
    assert len(report.kernels) <= 22 and not report.note
    for kernel in report.kernels:
        assert kernel.spilled_bytes == 0, kernel
        assert kernel.multiply_share is not None and kernel.multiply_share > 0.5, kernel
        assert kernel.wide_loads == 1.0, kernel
        assert kernel.bank_ways == kernel.worst_bank_ways == 1, kernel
        # Of the picture, three channels a pixel, accesses are of one float.
        assert kernel.sectors is not None and kernel.least_sectors is not None, kernel
        assert kernel.sectors <= kernel.least_sectors * (1.25 if kernel is report.kernels[0] else 1), kernel
    # Bytes go through the L2 cache several times: what that is weighed against is in docs/gpu.md.
    assert report.read_again <= 3
    # Batch 1 occupies a part of the GPU: with more blocks they would be read more often.
    assert all(kernel.blocks >= 0.27 * report.multiprocessors for kernel in report.kernels)


@pytest.mark.full
@pytest.mark.parametrize(
    "network, target, launches, times",
    [
        ("mobilenet_v1", "cuda-sm75", 17, 3.0),
        ("mobilenet_v1", "cuda-sm80", 18, 3.0),
        ("mobilenet_v1", "cuda-sm86", 19, 3.0),
        ("mobilenet_v1", "cuda-sm87", 18, 2.0),
        ("mobilenet_v1", "cuda-sm89", 19, 3.0),
        ("mobilenet_v1", "cuda-sm90", 18, 3.0),
        ("mobilenet_v2", "cuda-sm75", 22, 3.0),
        ("mobilenet_v2", "cuda-sm80", 22, 3.0),
        ("mobilenet_v2", "cuda-sm86", 20, 3.0),
        ("mobilenet_v2", "cuda-sm87", 20, 2.4),
        ("mobilenet_v2", "cuda-sm89", 20, 3.0),
        ("mobilenet_v2", "cuda-sm90", 20, 3.0),
        ("shufflenet_v1", "cuda-sm80", 55, 1.7),
    ],
)
def test_bytes_are_moved_three_times_at_most(network: str, target: str, launches: int, times: float) -> None:
    machine = gpu_of(target)
    plan = make_plan(load(f"examples/{network}.mn"), machine)
    predicted = [kernel.predict(machine) for kernel in plan.kernels]
    moved, unique = (sum(getattr(each, part) for each in predicted) for part in ("moved", "unique"))
    assert len(plan.kernels) <= launches and moved < times * unique, (len(plan.kernels), moved / unique)


TWO_LAYERS = """
network n
defaults padding symmetric
input image: 14x14x512
output y = image -> depthwise 3x3 -> norm -> relu6 -> conv 1x1 512 -> norm -> relu6
"""


def test_a_byte_counts_more_where_bytes_are_moved_too_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer of MobileNetV1's alone moves them five times: it is planned again, and stays where that is no help."""
    file = tmp_path / "n.mn"
    file.write_text(TWO_LAYERS, encoding="utf-8")
    network, machine = load(str(file)), gpu_of("cuda-sm80")

    def moved(most: float) -> float:
        monkeypatch.setattr(plan_gpu, "MOST_MOVED", most)
        found = [kernel.predict(machine) for kernel in make_plan(network, machine).kernels]
        return sum(each.moved for each in found if isinstance(each, GpuPrediction))

    monkeypatch.setattr(plan_gpu, "DEARER", (1.0, 10.0))
    assert moved(4) < 0.7 * moved(6)
    assert moved(1) == moved(6)


@pytest.mark.full
def test_the_products_of_mobilenet_v1_multiply_in_half_of_their_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    nvcc_or_skip()
    monkeypatch.setattr(static, "SAMPLE", 1)
    report = static_report("examples/mobilenet_v1.mn", {}, "cuda-sm80")
    specs = [kernel.spec for kernel in make_plan(load("examples/mobilenet_v1.mn"), gpu_of("cuda-sm80")).kernels]
    assert report.read_again <= 3 and not report.note
    products = [
        kernel
        for kernel, spec in zip(report.kernels, specs, strict=True)
        if isinstance(spec, Chain) and any(stage.kind == "conv" for stage in spec.stages)
    ]
    # The others are depthwise convolutions alone, of nine multiply-adds a number, the mean, and the softmax.
    assert len(products) >= 13
    for kernel in products:
        assert kernel.multiply_share is not None and kernel.multiply_share >= 0.5, kernel
        assert kernel.wide_loads == 1.0, kernel
    for kernel in report.kernels:
        assert kernel.spilled_bytes == 0 and kernel.worst_bank_ways in (1, None), kernel
