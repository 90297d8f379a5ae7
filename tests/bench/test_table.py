"""The table of the README."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.peers.table import markdown

ROOT = Path(__file__).resolve().parents[2]


def timing(engine: str, threads: int, ms: float, share: float | None, version: str = "1.0") -> dict[str, Any]:
    return {
        "engine": engine,
        "threads": threads,
        "median_ms": ms,
        "percent_of_fma_peak": share,
        "version": version,
        "difference": 3e-6,
    }


def test_rows_and_columns() -> None:
    machine = {"cpu": "Zen 4", "cpus": 2}
    results = {
        "mobilenet_v1_1.0_224": {
            "results": [timing("torch", 1, 21.2, 45.4, "2.13.0+cpu"), timing("mncc", 1, 11.0, 87.6)],
            "fma_peak_gflops": 118.2,
            "machine": machine,
            "measured": "2026-01-02",
        },
        "mobilenet_v2_0.35_96": {
            "results": [timing("mncc", 1, 0.4349, None), timing("mncc", 2, 0.3, 30.0)],
            "fma_peak_gflops": 117.0,
            "machine": machine,
            "measured": "2026-01-02",
        },
    }
    assert markdown(results).split("\n") == [
        "| ms (share of the FMA peak) | MobileNetV1 1.0-224 | MobileNetV2 0.35-96 | MobileNetV2 0.35-96, 2 threads |",
        "| --- | ---: | ---: | ---: |",
        "| **mncc 1.0** | 11.00 (88 %) | 0.435 | 0.300 (30 %) |",
        "| torch 2.13.0 | 21.20 (45 %) | - | - |",
        "",
        "Zen 4, 2 CPUs; FMA peak 117 to 118 GFLOP/s a core; outputs within 3e-06 of mncc's; 2026-01-02.",
    ]


def test_without_results(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.peers", "--table", "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "no results yet\n"
