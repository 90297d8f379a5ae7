"""The tables of instructions, from results."""

from pathlib import Path
from typing import Any

import pytest

from bench.arm64.__main__ import with_kept
from bench.arm64.table import loops_markdown, markdown, with_tables
from mncc.report.failures import UsageError


def result(engine: str, instructions: int, difference: float = 0.0) -> dict[str, Any]:
    return {
        "engine": engine,
        "version": "1.0",
        "instructions": instructions,
        "classes": {},
        "difference": difference,
    }


def content(*results: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "measured": "2026-11-22",
        "cpu": "cortex-a76",
        "emulator": "qemu-aarch64 7.2.22",
        "macs": 40_000_000,
        "lanes": 4,
        "results": list(results),
        "missing": [],
        **more,
    }


def test_engines_are_rows_with_their_ratio_to_the_bare_count() -> None:
    text = markdown(
        {
            "One": content(result("mncc", 12_500_000), result("ncnn", 20_000_000, 2e-6)),
            "Two": content(result("mncc", 9_000_000), macs=4_000_000),
        }
    )
    assert text.splitlines()[2:5] == [
        "| **mncc 1.0** | 12.5 (1.25) | 9.00 (9.00) |",
        "| ncnn 1.0 | 20.0 (2.00) | - |",
        "| multiply-adds / lanes: the bare count | 10.0 | 1.00 |",
    ]
    assert text.endswith(
        "Instructions, not times: qemu-aarch64 7.2.22, `-cpu cortex-a76`, one thread, float32, batch 1; outputs within "
        "2e-06 of mncc's; 2026-11-22."
    )


def test_an_engine_that_failed_is_named_with_the_reason() -> None:
    missing = [{"engine": "litert", "reason": "it cannot"}]
    text = markdown({"One": content(result("mncc", 10_000_000), missing=missing)})
    assert "No count of LiteRT on One: it cannot." in text


def test_without_results_that_is_said() -> None:
    assert markdown({}) == "no results yet"


def test_loops_are_rows_below_their_processors() -> None:
    loop = {"kernels": ["k01_bottleneck", "k04_bottleneck"], "instructions": 4_000_000, "length": 80}
    loop |= {"multiplies": 64, "cycles": 40.0}
    target = {"model": "neoverse-n1", "peak": 2.0, "instructions": 10_000_000, "in_loops": 9_000_000}
    target |= {"multiplies_in_loops": 7_500_000, "cycles_in_loops": 5_000_000, "listed": [loop]}
    text = loops_markdown({"title": "V2", "tool": "LLVM 22.1.8", "measured": "2026-11-22", "targets": [target]})
    assert "| neoverse-n1 | 10.0 M | 90% | 1.50 | 2.00 |" in text
    assert "| neoverse-n1 | k01, k04 | 40% | 80 | 64 | 40.0 | 80% |" in text
    assert "no time" in text
    assert "Cortex-A55" not in text


def test_the_page_takes_the_tables() -> None:
    page = Path("docs/arm64.md").read_text(encoding="utf-8")
    written = with_tables(page, {"instructions": "| one |", "loops": "| two |"})
    assert "--docs -->\n| one |\n<!-- instructions: end -->" in written
    assert "--docs -->\n| two |\n<!-- loops: end -->" in written
    assert with_tables(written, {"instructions": "| one |", "loops": "| two |"}) == written
    with pytest.raises(ValueError, match="no `<!-- elephants"):
        with_tables(page, {"elephants": ""})


def test_engines_that_are_not_counted_again_keep_their_counts() -> None:
    facts = {"network": "one", "settings": {"batch": 1}, "weights": "random:0", "target": "arm64"}
    kept = content(result("mncc", 20), result("ncnn", 30), missing=[{"engine": "litert", "reason": "no"}], **facts)
    now = content(result("mncc", 10), **facts)
    both = with_kept(now, kept)
    assert [(found["engine"], found["instructions"]) for found in both["results"]] == [("mncc", 10), ("ncnn", 30)]
    assert both["missing"] == kept["missing"]
    with pytest.raises(UsageError, match="counted with another weights, emulator"):
        with_kept({**now, "weights": "random:1", "emulator": "qemu-user 9.0"}, kept)


def test_cycles_of_loops_stand_below_the_network_they_are_of() -> None:
    results = {title: content(result("mncc", 10_000_000)) for title in ("One", "Two")}
    target = {"model": "neoverse-n1", "multiplies_in_loops": 7_500_000, "cycles_in_loops": 5_000_000}
    text = markdown(results, {"title": "Two", "targets": [target]})
    row = next(line for line in text.splitlines() if "neoverse-n1" in line)
    assert row.endswith("millions of cycles (multiplications a cycle) | - | 5.00 (1.50) |")
