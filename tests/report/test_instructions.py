"""The report of instructions: fields and columns."""

import io
import json

from rich.console import Console

from mncc.report.instructions import InstructionReport, Instructions, KernelInstructions, ratio

WHOLE = Instructions(4_000_000, 1_500_000, 1_000_000, {"multiply": 1_000_000, "other": 500_000})
KERNEL = KernelInstructions("k00_conv2d", ("1: conv2d", "2: pool"), WHOLE)
REPORT = InstructionReport("net", "arm64-cortex-a76", "cortex-a76", "qemu-user 7.2", WHOLE, (KERNEL,), {"batch": 1})


def test_times_are_null() -> None:
    content = json.loads(REPORT.json())
    expected = {"engine": "mncc", "threads": 1, "median_ms": None, "min_ms": None, "percent_of_fma_peak": None}
    assert content["results"] == [{**expected, "instructions": 1_500_000}]
    assert content["instructions"]["excess"] == 500_000
    assert content["profile"][0]["name"] == "k00_conv2d"
    assert content["profile"][0]["classes"] == {"multiply": 1_000_000, "other": 500_000}


def test_a_line_has_the_counts_and_their_ratio() -> None:
    assert WHOLE.cells() == ("4 M", "1.5 M", "1 M", "500 k", "1.50", "1 M", "500 k")


def test_tables_say_that_this_is_no_time() -> None:
    out = io.StringIO()
    Console(file=out, width=240).print(*REPORT.tables())
    text = out.getvalue()
    assert "Instructions, not time" in text
    assert "1: conv2d; 2: pool" in text


def test_without_multiplications_there_is_no_ratio() -> None:
    assert ratio(12, 0) == "-"
