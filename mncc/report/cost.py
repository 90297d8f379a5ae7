"""What a network costs, layer by layer, row by row and kernel by kernel."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from mncc.report.numbers import count, percent, short_count, size
from mncc.report.table import table

if TYPE_CHECKING:
    from rich.console import Group


@dataclass(frozen=True)
class LayerCost:
    """One node of the graph. A multiply-add counts once; params as torch's `parameters()` counts them."""

    name: str
    op: str
    output_shape: tuple[int, ...]
    params: int
    macs: int


@dataclass(frozen=True)
class RowCost:
    """One row of the table with all its repeats, or one line outside of the table, whose number is -1."""

    number: int
    row: str
    output: str
    params: int
    macs: int


@dataclass(frozen=True)
class PartCost:
    """What papers leave out: `batch norm`, `biases`, `dense layers`, or the `classifier`: the last row with any."""

    part: str
    row: str
    """The row that is the part, empty for the parts that are everywhere."""
    params: int
    macs: int


@dataclass(frozen=True)
class KernelCost:
    """One kernel of the plan; `executed_macs` includes what the second of two threads computes again."""

    name: str
    family: str
    rows: tuple[str, ...]
    output: str
    macs: int
    executed_macs: int
    scratch_bytes: int


@dataclass(frozen=True)
class CostReport:
    """The answer of `mncc cost`. `workspace_bytes` is for one thread, `weight_bytes` what the library holds."""

    network: str
    target: str
    settings: Mapping[str, float | int | str]
    params: int
    macs: int
    workspace_bytes: int
    weight_bytes: int
    layers: tuple[LayerCost, ...]
    rows: tuple[RowCost, ...]
    parts: tuple[PartCost, ...]
    kernels: tuple[KernelCost, ...]

    def json(self) -> str:
        """The report as one JSON object."""
        return json.dumps(asdict(self), indent=2)

    def tables(self) -> tuple[Group, Group, Group]:
        """A line a row, a line for what some papers do not count, and a line a kernel."""
        return self._row_table(), self._part_table(), self._kernel_table()

    def _row_table(self) -> Group:
        rows = [
            (
                str(r.number) if r.number >= 0 else "",
                r.row,
                r.output,
                count(r.params),
                count(r.macs),
                percent(r.macs / self.macs if self.macs else 0.0),
            )
            for r in self.rows
        ]
        settings = ", ".join(
            f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in self.settings.items()
        )
        title = f"{self.network} ({settings})" if settings else self.network
        columns = (">row", "~", "output", ">parameters", ">multiply-adds", ">share")
        return table(title, columns, rows, ("", "", "", count(self.params), count(self.macs), ""))

    def _part_table(self) -> Group:
        rows = [
            (
                f"{p.part} ({p.row})" if p.row else p.part,
                count(p.params),
                count(self.params - p.params),
                count(p.macs),
                count(self.macs - p.macs),
            )
            for p in self.parts
        ]
        columns = ("part", ">parameters", ">without it", ">multiply-adds", ">without it")
        return table("parts that some papers leave out", columns, rows)

    def _kernel_table(self) -> Group:
        rows = [
            (
                k.name,
                k.family,
                "; ".join(k.rows),
                k.output,
                short_count(k.macs),
                percent(k.executed_macs / k.macs - 1 if k.macs else 0.0),
                size(k.scratch_bytes),
            )
            for k in self.kernels
        ]
        columns = ("kernel", "family", "~rows", "output", ">multiply-adds", ">again on 2 threads", ">scratch")
        title = (
            f"{len(self.kernels)} kernels for {self.target}; {size(self.weight_bytes)} of weights, "
            f"workspace {size(self.workspace_bytes)} for one thread"
        )
        return table(title, columns, rows)
