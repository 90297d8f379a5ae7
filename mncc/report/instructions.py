"""How many instructions a library takes, beside the multiplications that it cannot do without."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from mncc.report.numbers import short_count
from mncc.report.table import table

if TYPE_CHECKING:
    from rich.console import Group

    from mncc.devices.executed import Class

NOT_TIME = "Instructions, not time: under emulation nothing waits for memory, or for another instruction."


@dataclass(frozen=True)
class Instructions:
    """What was counted in a run on one thread. `bare` is the multiply-adds by the elements of a vector: what would be
    left if there were nothing but full vector multiplications. `classes` splits `instructions` by what they do."""

    macs: int
    instructions: int
    bare: float
    classes: Mapping[Class, int]

    @property
    def excess(self) -> float:
        """What is beyond the bare multiplications."""
        return self.instructions - self.bare

    def json(self) -> dict[str, Any]:
        """As an object."""
        return {**asdict(self), "excess": self.excess}

    def cells(self) -> tuple[str, ...]:
        """In the columns of a table."""
        of_classes = (short_count(count) for count in self.classes.values())
        counts = (short_count(value) for value in (self.instructions, self.bare, self.excess))
        return (short_count(self.macs), *counts, ratio(self.instructions, self.bare), *of_classes)


@dataclass(frozen=True)
class KernelInstructions:
    """One kernel."""

    name: str
    rows: tuple[str, ...]
    counted: Instructions


@dataclass(frozen=True)
class InstructionReport:
    """The answer of `mncc bench --device qemu`. `cpu` and `emulator` are qemu's name of the processor, and its version;
    `profile` has the kernels where they were asked for, most excess first."""

    network: str
    target: str
    cpu: str
    emulator: str
    whole: Instructions
    profile: tuple[KernelInstructions, ...] = ()
    settings: Mapping[str, float | int | str] = field(default_factory=dict)
    weights: str = ""

    def json(self) -> str:
        """One JSON object with the fields of other benchmarks; null where they speak of time."""
        result = {"engine": "mncc", "threads": 1, "median_ms": None, "min_ms": None, "percent_of_fma_peak": None}
        content = {
            "network": self.network,
            "target": self.target,
            "device": "qemu",
            "macs": self.whole.macs,
            "fma_peak_gflops": None,
            "results": [{**result, "instructions": self.whole.instructions}],
            "missing": [],
            "instructions": self.whole.json(),
            "profile": [{"name": k.name, "rows": k.rows, **k.counted.json()} for k in self.profile],
            "settings": dict(self.settings),
            "weights": self.weights,
            "cpu": self.cpu,
            "emulator": self.emulator,
        }
        return json.dumps(content, indent=2)

    def tables(self) -> tuple[Group, ...]:
        """The whole network in a line and, where it was asked for, a line a kernel."""
        from rich.console import Group
        from rich.text import Text

        columns = _columns(self.whole)
        title = f"{self.network} for {self.target} on qemu's {self.cpu}, one inference"
        whole = Group(table(title, columns, [self.whole.cells()]), Text(NOT_TIME))
        if not self.profile:
            return (whole,)
        rows = [(k.name, "; ".join(k.rows), *k.counted.cells()) for k in self.profile]
        return whole, table("kernels, most excess first", ("kernel", "~rows", *columns), rows)


def _columns(counted: Instructions) -> tuple[str, ...]:
    named = ("multiply-adds", "instructions", "bare", "excess", "ratio", *counted.classes)
    return tuple(f">{name}" for name in named)


def ratio(instructions: float, bare: float) -> str:
    """How many instructions there are for each that must be; `-` where nothing is multiplied."""
    return f"{instructions / bare:.2f}" if bare else "-"
