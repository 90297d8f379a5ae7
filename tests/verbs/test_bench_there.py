"""`mncc bench` on a device: times and peak from there, as the report of this machine has them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mncc.report.failures import UsageError
from mncc.report.progress import Progress
from mncc.verbs.bench import bench
from mncc.verbs.job import parse_device, prepare

TINY = Path(__file__).resolve().parents[2] / "docs" / "tiny.mn"


def test_times_and_peak_of_a_device() -> None:
    job = prepare(TINY, {})
    device = parse_device("command:env")
    report = bench(job, (2, 1), (), True, Progress(), seconds=0.3, device=device)
    assert [(t.engine, t.threads) for t in report.results] == [("mncc", 2), ("mncc", 1)]
    assert report.device == "command:env" and report.fma_peak_gflops and report.fma_peak_gflops > 1
    for timing in report.results:
        assert 0 < timing.min_ms <= timing.median_ms and timing.runs >= 15
        assert timing.percent_of_fma_peak and 1 < timing.percent_of_fma_peak < 120
    assert sum(k.macs for k in report.profile) == report.macs and all(k.median_ms > 0 for k in report.profile)
    assert report.machine is not None and report.machine.architecture == os.uname().machine
    content = json.loads(report.json())
    assert {"network", "target", "fma_peak_gflops", "results"} <= set(content) and content["device"] == "command:env"


@pytest.mark.parametrize(
    ("device", "engines", "words"),
    [("command:env", ("torch",), "other engines run on this machine"), ("qemu", (), "no times worth measuring")],
)
def test_what_a_device_cannot_measure(device: str, engines: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        bench(prepare(TINY, {}, "armv7"), (1,), engines, False, Progress(), device=parse_device(device))
