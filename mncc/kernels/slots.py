"""Predicted times. Their unit is the slot: the time of one multiplication of full vectors at a core's peak.

A kernel of M multiply-adds takes M / lanes slots where nothing is lost, whatever the clock; a slot is a cycle of a
Zen 4 core with AVX-512 and half a cycle with AVX2.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Slots:
    """A time by its causes: `multiply` at the vectors' full speed, what register `tiles` lose, waiting for the `l2`
    cache, and for what lies behind it, `memory`."""

    multiply: float = 0.0
    tiles: float = 0.0
    l2: float = 0.0
    memory: float = 0.0

    @property
    def total(self) -> float:
        """All causes together."""
        return self.multiply + self.tiles + self.l2 + self.memory

    def __add__(self, other: Slots) -> Slots:
        return Slots(
            self.multiply + other.multiply, self.tiles + other.tiles, self.l2 + other.l2, self.memory + other.memory
        )

    def times(self, count: float) -> Slots:
        """This `count` times."""
        return Slots(self.multiply * count, self.tiles * count, self.l2 * count, self.memory * count)


@dataclass(frozen=True)
class Prediction:
    """The time of one image on one thread. `ideal` is that of its multiply-adds at the FMA peak, in slots; `stages`
    what each stage takes; `moved` what the kernel's tensors and weights add on their way from and to memory."""

    ideal: float
    stages: tuple[Slots, ...]
    moved: Slots

    @property
    def slots(self) -> Slots:
        """All stages together."""
        return sum(self.stages, self.moved)

    @property
    def share(self) -> float:
        """Of the FMA peak."""
        return self.ideal / self.slots.total if self.slots.total else 0.0

    def describe(self) -> str:
        """The line of a printed plan."""
        slots = self.slots
        head = f"predicted {self.share:.0%} of the FMA peak: " if self.ideal else "predicted "
        named = ("multiply", slots.multiply), ("tiles", slots.tiles), ("L2", slots.l2), ("memory", slots.memory)
        return f"{head}{slots.total * 1e-3:.1f} k slots, " + ", ".join(f"{v * 1e-3:.1f} {n}" for n, v in named)


def stall(compute: float, transfer: float, exposed: float) -> float:
    """Slots that a core waits for bytes which take `transfer` slots, beside `compute` slots of work: prefetching hides
    all but the `exposed` share of them, as far as there is work to hide behind."""
    return exposed * min(transfer, compute) + max(0.0, transfer - compute)
