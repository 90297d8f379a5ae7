"""The tables of the README, from the results: a few networks in detail, and all of them in a line each."""

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
    return "\n".join([*lines, "", caption(results)])


NAMES = {"litert": "LiteRT", "openvino": "OpenVINO", "onnxruntime": "onnxruntime", "ncnn": "ncnn"}
"""The engines that mncc is compared with, as their people write them."""
BEGIN, END = "<!-- every network: written by python -m bench.peers --readme -->", "<!-- every network: end -->"


def overview(results: Results, titles: Mapping[str, str]) -> str:
    """A row a network, on one thread: mncc's median milliseconds with the share of the FMA peak, every engine's, and
    mncc's time by that of the fastest engine. Below it why a time is missing, and what was measured, and where."""
    rows = [["ms on one thread", "mncc (of the peak)", *NAMES.values(), "mncc / fastest"]]
    rows.append(["---", *["---:"] * (len(NAMES) + 2)])
    notes = []
    for name, content in results.items():
        timings = {t["engine"]: t for t in content["results"] if t["threads"] == 1}
        others = [timings[engine]["median_ms"] for engine in NAMES if engine in timings]
        own = timings["mncc"]["median_ms"]
        ratio = f"{own / min(others):.2f}" if others else "-"
        cells = (_milliseconds(timings[engine]["median_ms"]) if engine in timings else "-" for engine in NAMES)
        rows.append([titles.get(name, name), _cell(timings["mncc"]), *cells, ratio])
        lost = [missing for missing in content["missing"] if missing["engine"] in NAMES]
        notes += [f"No time of {NAMES[m['engine']]} on {titles.get(name, name)}: {m['reason']}." for m in lost]
    if len(rows) == 2:
        return "no results yet"
    used = versions(results)
    engines = ", ".join(f"{name} {used[engine]}" for engine, name in NAMES.items() if engine in used)
    notes += [""] if notes else []
    return "\n".join([*map(_row, rows), "", *notes, f"{engines}; {caption(compared(results))}"])


def compared(results: Results) -> Results:
    """The same results, with only the timings of mncc and of the engines of NAMES."""
    engines = ("mncc", *NAMES)
    return {
        name: {**content, "results": [timing for timing in content["results"] if timing["engine"] in engines]}
        for name, content in results.items()
    }


def versions(results: Results) -> dict[str, str]:
    """Engine -> its version; all of them, `1.0 and 1.1`, where networks were measured with different ones."""
    timings = [timing for content in results.values() for timing in content["results"]]
    engines = dict.fromkeys(timing["engine"] for timing in timings)
    return {
        engine: " and ".join(dict.fromkeys(timing["version"] for timing in timings if timing["engine"] == engine))
        for engine in engines
    }


def with_overview(readme: str, table: str) -> str:
    """The text of README.md with the table of all networks in its place. Raises ValueError where it has no place."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md has no `{BEGIN}` with `{END}` behind it")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


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
    text = _milliseconds(timing["median_ms"])
    return text if share is None else f"{text} ({share:.0f} %)"


def _milliseconds(value: float) -> str:
    """Three digits or a few more."""
    return f"{value:.{1 if value >= 100 else 2 if value >= 1 else 3}f}"


def caption(results: Results) -> str:
    """What was measured, and where: the machines, their FMA peaks, how far outputs differ, and the days."""
    contents = list(results.values())
    machines = sorted({f"{c['machine']['cpu']}, {c['machine']['cpus']} CPUs" for c in contents if c.get("machine")})
    peaks = sorted(c["fma_peak_gflops"] for c in contents if c["fma_peak_gflops"])
    ends = dict.fromkeys(f"{peak:.0f}" for peak in (*peaks[:1], *peaks[-1:]))
    largest = max(timing["difference"] for c in contents for timing in c["results"])
    dates = sorted({c["measured"] for c in contents if c.get("measured")})
    parts = [
        "; ".join(machines),
        f"FMA peak {' to '.join(ends)} GFLOP/s a core" if peaks else "",
        f"outputs within {largest:.0e} of mncc's",
        " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else "",
    ]
    return f"{'; '.join(part for part in parts if part)}."
