"""The tables of docs/arm64.md, from the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mncc.report.instructions import ratio

NAMES = {"mncc": "mncc", "onnxruntime": "onnxruntime", "ncnn": "ncnn", "litert": "LiteRT"}
Results = Mapping[str, Mapping[str, Any]]
"""Title of a network -> what `python -m bench.arm64` keeps of it."""


def markdown(results: Results) -> str:
    """A row an engine, a column a network: millions of instructions a run and their ratio to the bare multiplications,
    which have a row too. Below it what was counted."""
    if not results:
        return "no results yet"
    cells = {
        (found["engine"], title): found for title, content in results.items() for found in content["results"]
    }
    rows = [_row(["millions of instructions (by the bare count)", *results]), _row(["---", *["---:"] * len(results)])]
    for engine, name in NAMES.items():
        counts = [cells.get((engine, title)) for title in results]
        versions = list(dict.fromkeys(found["version"] for found in counts if found))
        if versions:
            texts = [_cell(found, _bare(results[title])) for found, title in zip(counts, results, strict=True)]
            head = f"{name} {' and '.join(versions)}"
            rows.append(_row([f"**{head}**" if engine == "mncc" else head, *texts]))
    rows.append(_row(["multiply-adds / lanes: the bare count", *(_millions(_bare(c)) for c in results.values())]))
    notes = [
        f"No count of {NAMES[lost['engine']]} on {title}: {lost['reason']}."
        for title, content in results.items()
        for lost in content["missing"]
    ]
    return "\n".join([*rows, "", *notes, *([""] if notes else []), caption(results)])


def caption(results: Results) -> str:
    """What was counted, on what, and when."""
    contents = list(results.values())
    cpus = " and ".join(dict.fromkeys(f"`-cpu {c['cpu']}`" for c in contents))
    largest = max(found["difference"] for c in contents for found in c["results"])
    emulators = " and ".join(dict.fromkeys(c["emulator"] for c in contents))
    dates = sorted({c["measured"] for c in contents})
    return (
        f"Instructions, not times: {emulators}, {cpus}, one thread, float32, batch 1; outputs within {largest:.0e} of "
        f"mncc's; {' to '.join(dict.fromkeys((dates[0], dates[-1])))}."
    )


def _bare(content: Mapping[str, Any]) -> float:
    return content["macs"] / content["lanes"]


def _cell(found: Mapping[str, Any] | None, bare: float) -> str:
    if found is None:
        return "-"
    return f"{_millions(found['instructions'])} ({ratio(found['instructions'], bare)})"


def _millions(value: float) -> str:
    """Three digits or a few more."""
    millions = value * 1e-6
    return f"{millions:.{1 if millions >= 10 else 2}f}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
