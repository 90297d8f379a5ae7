"""What can be said of GPU kernels without running them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from mncc.report.numbers import percent, short_count
from mncc.report.table import table

if TYPE_CHECKING:
    from rich.console import Group


@dataclass(frozen=True)
class StaticKernel:
    """One launch. `resident` blocks fit on a multiprocessor at once, which then has `occupancy` of its threads. Bytes
    that all blocks move, as counted from the tiles, and those of tensors and weights, each once. Of the hottest loop:
    the share of multiply-adds, and of its loads those that are 128 bits wide; None without nvcc, or where the loop has
    none. `product_share` is that share in the hottest product on tensor cores alone, which may be a part of that loop,
    or a loop beside it; None where there is none. `sectors` of 32 bytes that a warp's access to global memory takes and
    `least_sectors` that its bytes would fill, on average; `bank_ways` how many words a bank of shared memory gives for
    one access, on average and at most: 1 without conflicts. None without g++, or where a kernel has no such
    accesses."""

    name: str
    output: str
    blocks: int
    threads: int
    resident: int
    occupancy: float
    registers: int | None
    spilled_bytes: int | None
    shared_bytes: int
    moved_bytes: int
    unique_bytes: int
    multiply_share: float | None
    product_share: float | None
    wide_loads: float | None
    sectors: float | None
    least_sectors: float | None
    bank_ways: float | None
    worst_bank_ways: int | None
    macs: int


@dataclass(frozen=True)
class Bound:
    """What a board takes at least: at its FMA peak, and for its memory to move every byte once."""

    board: str
    microseconds: float


@dataclass(frozen=True)
class StaticReport:
    """A network's kernels for one architecture. Loops are those of `loops_of`, SASS or PTX, or unknown where it is
    empty; `note` says what is missing, and why."""

    network: str
    target: str
    board: str
    multiprocessors: int
    kernels: tuple[StaticKernel, ...]
    bounds: tuple[Bound, ...]
    loops_of: str = ""
    note: str = ""

    @property
    def read_again(self) -> float:
        """How many times over the network moves its bytes."""
        return sum(k.moved_bytes for k in self.kernels) / sum(k.unique_bytes for k in self.kernels)

    def json(self) -> str:
        """One object, with "timed": false."""
        return json.dumps({"timed": False, **asdict(self), "read_again": round(self.read_again, 3)}, indent=1)

    def tables(self) -> tuple[Group | str, ...]:
        """A line a launch, then the network's."""
        title = f"{self.network} for {self.target}: static, not timed"
        tensor = any(kernel.product_share is not None for kernel in self.kernels)
        columns = ("kernel", "makes", ">blocks", ">threads", ">at once", ">occupancy", ">registers", ">spilled",
                   ">shared", ">moved", ">times", ">FMA in loop", *([">in product"] if tensor else []), ">128 bit",
                   ">sectors", ">bank ways")  # fmt: skip
        bounds = ", ".join(f"{bound.board} {bound.microseconds:.0f} us" for bound in self.bounds)
        lines = [
            f"{len(self.kernels)} launch{'es' if len(self.kernels) != 1 else ''}, blocks for "
            f"{self.multiprocessors} multiprocessors ({self.board}); bytes are moved {self.read_again:.1f} times",
            f"no board is faster than its multipliers and its memory: {bounds}",
            "sectors: of 32 bytes, that a warp's access to global memory takes / needs at least; bank ways: words that "
            "a bank of shared memory gives for one access, 1 without conflicts",
        ]
        if tensor:
            lines.append(
                "in product: the share of multiplications in the hottest product on tensor cores alone, without what "
                "is done with its sums in the same loop"
            )
        notes = [self.note] if self.note else []
        if self.loops_of == "PTX":
            notes.append("loops are those of PTX: `pip install nvidia-cuda-nvdisasm` to have machine code read")
        return (table(title, columns, [_row(kernel, tensor) for kernel in self.kernels]), *lines, *notes)


def _row(kernel: StaticKernel, tensor: bool) -> tuple[str, ...]:
    return (
        kernel.name,
        kernel.output,
        f"{kernel.blocks:,}",
        str(kernel.threads),
        str(kernel.resident),
        percent(kernel.occupancy),
        "-" if kernel.registers is None else str(kernel.registers),
        "-" if kernel.spilled_bytes is None else str(kernel.spilled_bytes),
        short_count(kernel.shared_bytes),
        short_count(kernel.moved_bytes),
        f"{kernel.moved_bytes / kernel.unique_bytes:.1f}",
        percent(kernel.multiply_share),
        *([percent(kernel.product_share)] if tensor else []),
        percent(kernel.wide_loads),
        "-" if kernel.sectors is None else f"{kernel.sectors:.1f}/{kernel.least_sectors:.1f}",
        "-" if kernel.bank_ways is None else f"{kernel.bank_ways:.2f}",
    )
