"""The table of the README, from the results."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Results = Mapping[str, Mapping[str, Any]]
"""Name of a network (the stem of its file) -> what `mncc bench --json` says."""


def markdown(results: Results) -> str:
    """A row an engine, a column a network and number of threads: median milliseconds and the share of the FMA peak;
    the fastest on one thread of the first network stands first. Below it what was measured, and where."""
    columns = [(name, threads) for name, content in results.items() for threads in _threads(content)]
    if not columns:
        return "no results yet"
    cells = {
        (timing["engine"], name, timing["threads"]): timing
        for name, content in results.items()
        for timing in content["results"]
    }
    engines = list(dict.fromkeys(engine for engine, _, _ in cells))
    first = columns[0]
    engines.sort(key=lambda engine: cells.get((engine, *first), {}).get("median_ms", float("inf")))
    lines = [_row(["ms (share of the FMA peak)", *(_title(*column) for column in columns)])]
    lines.append(_row(["---", *["---:"] * len(columns)]))
    for engine in engines:
        timings = [cells.get((engine, *column)) for column in columns]
        version = next(timing["version"] for timing in timings if timing)
        lines.append(_row([_engine(engine, version), *map(_cell, timings)]))
    return "\n".join([*lines, "", _caption(results)])


def _threads(content: Mapping[str, Any]) -> list[int]:
    return sorted({timing["threads"] for timing in content["results"]})


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _engine(engine: str, version: str) -> str:
    # A local version (`2.13.0+cpu`) tells no more than the release to a reader.
    text = f"{engine} {version.partition('+')[0]}".strip()
    return f"**{text}**" if engine == "mncc" else text


def _title(name: str, threads: int) -> str:
    """`MobileNetV2 1.0-224, 2 threads` for mobilenet_v2_1.0_224."""
    parts = re.fullmatch(r"mobilenet_(v\d)_([\d.]+)_(\d+)", name)
    title = f"MobileNet{parts[1].upper()} {parts[2]}-{parts[3]}" if parts else name
    return title if threads == 1 else f"{title}, {threads} threads"


def _cell(timing: Mapping[str, Any] | None) -> str:
    if timing is None:
        return "-"
    share = timing["percent_of_fma_peak"]
    text = f"{timing['median_ms']:.2f}" if timing["median_ms"] >= 1 else f"{timing['median_ms']:.3f}"
    return text if share is None else f"{text} ({share:.0f} %)"


def _caption(results: Results) -> str:
    contents = list(results.values())
    machines = sorted({f"{c['machine']['cpu']}, {c['machine']['cpus']} CPUs" for c in contents if c.get("machine")})
    peaks = sorted(c["fma_peak_gflops"] for c in contents if c["fma_peak_gflops"])
    largest = max(timing["difference"] for c in contents for timing in c["results"])
    dates = sorted({c["measured"] for c in contents if c.get("measured")})
    parts = [
        "; ".join(machines),
        f"FMA peak {peaks[0]:.0f} to {peaks[-1]:.0f} GFLOP/s a core" if peaks else "",
        f"outputs within {largest:.0e} of mncc's",
        " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else "",
    ]
    return f"{'; '.join(part for part in parts if part)}."
