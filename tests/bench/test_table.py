"""The table of the README."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.peers.table import BEGIN, END, markdown, overview, with_overview
from tests.bench.results import timing

ROOT = Path(__file__).resolve().parents[2]


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


def content(missing: list[dict[str, str]], *timings: dict[str, Any]) -> dict[str, Any]:
    return {
        "results": list(timings),
        "missing": missing,
        "fma_peak_gflops": 118.2,
        "machine": {"cpu": "Zen 4", "cpus": 2},
        "measured": "2026-01-02",
    }


def test_every_network_in_a_line() -> None:
    results = {
        "vgg16": content(
            [
                {"engine": "ncnn", "reason": "softmax cannot be handed to ncnn yet"},
                {"engine": "torch", "reason": "gone"},
            ],
            timing("mncc", 1, 300.04, 88.0),
            timing("litert", 1, 310.0, 80.0, "2.3.0"),
            timing("openvino", 1, 280.0, 90.0, "2026.4.1"),
            timing("torch", 1, 1.0, 99.0),
        ),
        "tiny": content([], timing("mncc", 1, 0.25, 70.0), timing("ncnn", 2, 0.1, 70.0)),
    }
    assert overview(results, {"vgg16": "VGG-16"}).split("\n") == [
        "| ms on one thread | mncc (of the peak) | LiteRT | OpenVINO | onnxruntime | ncnn | mncc / fastest |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| VGG-16 | 300.0 (88 %) | 310.0 | 280.0 | - | - | 1.07 |",
        "| tiny | 0.250 (70 %) | - | - | - | - | - |",
        "",
        "No time of ncnn on VGG-16: softmax cannot be handed to ncnn yet.",
        "",
        "LiteRT 2.3.0, OpenVINO 2026.4.1, ncnn 1.0; Zen 4, 2 CPUs; FMA peak 118 GFLOP/s a core; "
        "outputs within 3e-06 of mncc's; 2026-01-02.",
    ]
    assert overview({}, {}) == "no results yet"


def test_the_place_in_the_readme() -> None:
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert with_overview(text, "new\nlines") == f"before\n{BEGIN}\nnew\nlines\n{END}\nafter\n"
    with pytest.raises(ValueError, match="has no"):
        with_overview("nothing", "new")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "| a |" in with_overview(readme, "| a |")
