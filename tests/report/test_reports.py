"""Reports as JSON, tables and lines."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console, RenderableType

from mncc.report.bench import BenchReport, KernelTime, Timing, percent_of_peak
from mncc.report.cost import CostReport, KernelCost, LayerCost, PartCost, RowCost
from mncc.report.numbers import plural, short_count, size
from mncc.report.run import Guess, PictureAnswer, RunReport
from mncc.report.verify import VerifyReport, compare


def printed(table: RenderableType) -> str:
    stream = io.StringIO()
    Console(file=stream, width=200).print(table)
    return stream.getvalue()


def test_numbers() -> None:
    assert [size(b) for b in (12, 2048, 3 << 20, 5 << 30)] == ["12 B", "2 KiB", "3 MiB", "5 GiB"]
    assert short_count(300_774_272) == "300.8 M"
    assert [plural(1, "kernel"), plural(2, "kernel")] == ["1 kernel", "2 kernels"]


def test_percent_of_peak_is_the_contract_s() -> None:
    assert percent_of_peak(300_774_272, 7.03, 118.2) == pytest.approx(72.39, abs=0.01)
    assert percent_of_peak(0, 1.0, 118.2) is None
    assert percent_of_peak(1, 1.0, None) is None


def test_bench_json_has_the_contract_s_fields() -> None:
    timing = Timing("mncc", 1, 7.0, 6.9, 72.0, 100, 118.0)
    lost = KernelTime("k0", ("bottleneck",), 10**6, 0.1, 20.0, 17.0, 0.08)
    report = BenchReport("net", "native", "local", 10**6, 118.0, (timing,), (("ncnn", "not here"),), (lost,))
    content = json.loads(report.json())
    assert content["network"] == "net" and content["target"] == "native" and content["fma_peak_gflops"] == 118.0
    wanted = {"engine", "threads", "median_ms", "min_ms", "percent_of_fma_peak"}
    assert wanted <= set(content["results"][0])
    assert content["missing"] == [{"engine": "ncnn", "reason": "not here"}]
    timings, profile = (printed(table) for table in report.tables())
    assert "tuned" not in timings
    assert "tiles of 3 kernels tuned" in printed(replace(report, tuned_kernels=3).table())
    assert "72.0 %" in timings and "ncnn is missing: not here" in timings and "bottleneck" in profile


def test_cost_json_has_the_contract_s_fields() -> None:
    layer = LayerCost("r0.conv", "conv", (1, 16, 16, 8), 216, 55296)
    kernel = KernelCost("k0", "chain", ("conv2d",), "16x16x8", 55296, 60000, 2048)
    row = RowCost(0, "conv2d [3]", "16x16x8", 216, 55296)
    part = PartCost("classifier", "row 1: conv2d [3]", 16, 5296)
    report = CostReport("net", "native", {"width": 0.5}, 216, 55296, 4096, 928, (layer,), (row,), (part,), (kernel,))
    content = json.loads(report.json())
    assert content["params"] == 216 and content["macs"] == 55296 and content["workspace_bytes"] == 4096
    assert content["weight_bytes"] == 928
    assert content["layers"] == [
        {"name": "r0.conv", "op": "conv", "output_shape": [1, 16, 16, 8], "params": 216, "macs": 55296}
    ]
    rows, parts, kernels = (printed(table) for table in report.tables())
    assert "classifier (row 1: conv2d [3])" in parts and "50,000" in parts
    assert "conv2d [3]" in rows, "a cell is text, not markup"
    assert "width 0.5" in rows and "8.5 %" in kernels


def test_run_ends_with_the_best_label() -> None:
    answer = PictureAnswer("cat.png", "scores", (Guess("Egyptian cat", 0.714), Guess("tiger cat", 0.146)))
    lines = RunReport("net", (answer,), 7.0).text().splitlines()
    assert lines[1].split() == ["0.714", "Egyptian", "cat"]
    assert lines[-1] == "cat.png: Egyptian cat"


@pytest.mark.parametrize(
    ("got", "passed"),
    [([1.0, 2.0], True), ([1.0, 2.00001], False), ([1.0, 2.001], False), ([1.0, np.nan], False), ([0.9, 2.0], False)],
)
def test_compare_is_relative_to_the_largest(got: list[float], passed: bool) -> None:
    twin = np.array([1.0, 2.0])
    comparison = compare("output", "scores", np.array(got, np.float32), twin)
    assert comparison.passed is passed
    report = VerifyReport("net", "native", "one random input", (comparison,), ())
    assert bool(report.failed) is not passed
    assert ("verified" in report.verdict()) is passed
    assert ("ok" in printed(report.table())) is passed


def test_compare_with_a_twin_of_zeros() -> None:
    assert compare("kernel", "k", np.zeros(3, np.float32), np.zeros(3)).passed
    assert not compare("kernel", "k", np.ones(3, np.float32), np.zeros(3)).passed
