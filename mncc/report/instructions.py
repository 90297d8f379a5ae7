"""How many instructions a library takes, beside the multiplications that it cannot do without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mncc.report.numbers import short_count
from mncc.report.table import table

if TYPE_CHECKING:
    from rich.console import Group

NOT_TIME = "instructions, not time: counted under emulation, where nothing waits for memory or for another instruction"


@dataclass(frozen=True)
class KernelInstructions:
    """One kernel in a run on one thread. `bare` is its multiply-adds by the elements of a vector: what would be left if
    there were nothing but full vector multiplications. `classes` splits `instructions` by what they do."""

    name: str
    rows: tuple[str, ...]
    macs: int
    instructions: int
    bare: float
    classes: Mapping[str, int]

    @property
    def excess(self) -> float:
        """What is beyond the bare multiplications."""
        return self.instructions - self.bare


def instructions_table(title: str, total: int, kernels: tuple[KernelInstructions, ...]) -> Group:
    """A line a kernel, most excess first. `total` is of a whole run, with what calls the kernels."""
    classes = list(kernels[0].classes) if kernels else []
    rows = [
        (
            k.name,
            "; ".join(k.rows),
            short_count(k.macs),
            short_count(k.instructions),
            short_count(k.bare),
            ratio(k.instructions, k.bare),
            short_count(k.excess),
            *(short_count(k.classes[name]) for name in classes),
        )
        for k in sorted(kernels, key=lambda k: -k.excess)
    ]
    bare = sum(k.bare for k in kernels)
    sums = [short_count(sum(k.classes[name] for k in kernels)) for name in classes]
    macs = short_count(sum(k.macs for k in kernels))
    last = ("", "", macs, short_count(total), short_count(bare), ratio(total, bare), short_count(total - bare), *sums)
    columns = ("kernel", "~rows", ">multiply-adds", ">instructions", ">bare", ">ratio", ">excess")
    return table(f"{title}: {NOT_TIME}", (*columns, *(f">{name}" for name in classes)), rows, last)


def ratio(instructions: float, bare: float) -> str:
    """How many instructions there are for each that must be; `-` where nothing is multiplied."""
    return f"{instructions / bare:.2f}" if bare else "-"
