"""The tables of docs/arm64.md, from the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mncc.report.instructions import ratio

NAMES = {"mncc": "mncc", "onnxruntime": "onnxruntime", "ncnn": "ncnn", "litert": "LiteRT"}
Results = Mapping[str, Mapping[str, Any]]
"""Title of a network -> what `python -m bench.arm64` keeps of it."""


def markdown(results: Results, loops: Mapping[str, Any] | None = None) -> str:
    """A row an engine, a column a network: millions of instructions a run and their ratio to the bare multiplications,
    which have a row too; then what llvm-mca says of the inner `loops` of one network. Below it what was counted."""
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
    if loops:
        rows += [_modelled(found, loops["title"], list(results)) for found in loops["targets"]]
    notes = [
        f"No count of {NAMES[lost['engine']]} on {title}: {lost['reason']}."
        for title, content in results.items()
        for lost in content["missing"]
    ]
    return "\n".join([*rows, "", *notes, *([""] if notes else []), caption(results)])


def _modelled(found: Mapping[str, Any], title: str, titles: Sequence[str]) -> str:
    """The row of a processor's model: cycles of the loops of the network of that title."""
    cell = f"{_millions(found['cycles_in_loops'])} ({_multiplications_a_cycle(found)})"
    head = f"mncc's inner loops for {found['model']} in llvm-mca: millions of cycles (multiplications a cycle)"
    return _row([head, *(cell if each == title else "-" for each in titles)])


def _multiplications_a_cycle(found: Mapping[str, Any]) -> str:
    return f"{found['multiplies_in_loops'] / found['cycles_in_loops']:.2f}"


def with_tables(page: str, tables: Mapping[str, str]) -> str:
    """The text of a document with each table in its place. Raises ValueError where one has none."""
    for name, table in tables.items():
        begin, end = f"<!-- {name}: written by python -m bench.arm64 --docs -->", f"<!-- {name}: end -->"
        before, found, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        if not found or not ended:
            raise ValueError(f"the document has no `{begin}` with `{end}` behind it")
        page = f"{before}{begin}\n{table}\n{end}{after}"
    return page


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


def loops_markdown(content: Mapping[str, Any]) -> str:
    """What bench/arm64/model.py keeps: a row a processor with all of its loops together, then a row each of the loops
    that run most."""
    lines = [
        _row(["built for and modelled", "instructions", "in loops", "multiplications a cycle", "the model's peak"]),
        _row(["---", *["---:"] * 4]),
    ]
    listed = [
        _row(["processor", "kernels", "of all instructions", "a round", "multiplications", "cycles", "of the peak"]),
        _row(["---", "---", *["---:"] * 5]),
    ]
    for found in content["targets"]:
        lines.append(
            _row(
                [
                    found["model"],
                    f"{_millions(found['instructions'])} M",
                    f"{found['in_loops'] / found['instructions']:.0%}",
                    _multiplications_a_cycle(found),
                    f"{found['peak']:.2f}",
                ]
            )
        )
        listed += [_loop_row(found, loop) for loop in found["listed"]]
    note = (
        f"{content['title']}, llvm-mca of {content['tool']}: innermost loops that multiply, in the model of each "
        f"processor, all memory in the first cache. This ranks loops and is no time; {content['measured']}."
    )
    if any(found["model"] == "cortex-a55" for found in content["targets"]):
        note += (
            " LLVM lets the Cortex-A55 begin two vectors' multiplications a cycle; its pipes are half as wide as that."
        )
    return "\n".join([*lines, "", *listed, "", note])


def _loop_row(found: Mapping[str, Any], loop: Mapping[str, Any]) -> str:
    share = loop["multiplies"] / loop["cycles"] / found["peak"]
    return _row(
        [
            found["model"],
            _kernels(loop["kernels"]),
            f"{loop['instructions'] / found['instructions']:.0%}",
            str(loop["length"]),
            str(loop["multiplies"]),
            f"{loop['cycles']:.1f}",
            f"{share:.0%}",
        ]
    )


def _kernels(names: Sequence[str]) -> str:
    """`k01`, or `k01, k04` for their full names."""
    return ", ".join(name.partition("_")[0] for name in names)
