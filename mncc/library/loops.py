"""The inner loops of GPU kernels: what instructions they are of, in whatever text these are read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise


class Kind(Enum):
    """What is counted of instructions."""

    MULTIPLY = "multiply-adds, those of tensor cores among them"
    SHARED = "loads of shared memory"
    GLOBAL = "loads of global memory"
    STORE = "stores"
    BARRIER = "barriers of a block"
    OTHER = "everything else"


@dataclass(frozen=True)
class Instruction:
    """`wide` is a load of 128 bits; `target` the label that a branch goes to, else empty; `macs` of a multiply-add are
    those of one lane; `matrix` is an instruction of tensor cores, or one that loads for them."""

    kind: Kind
    wide: bool = False
    target: str = ""
    macs: int = 1
    matrix: bool = False


@dataclass
class Code:
    """A kernel's instructions in their order, and its labels: each the number of the instruction behind it."""

    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Loop:
    """Instructions of a loop's body: all, multiply-adds, loads of shared and of global memory, and how many of these
    are of 128 bits."""

    instructions: int = 0
    multiplies: int = 0
    shared: int = 0
    shared_wide: int = 0
    loaded: int = 0
    loaded_wide: int = 0

    @property
    def share(self) -> float:
        """Of the multiply-adds among all instructions."""
        return self.multiplies / self.instructions if self.instructions else 0.0


def hottest(code: Code) -> Loop:
    """Of the innermost loops the one that multiplies most, where an instruction of tensor cores is worth as many
    multiply-adds as it makes. A kernel without loops that have any has them unrolled: what lies between its first load
    and its last multiply-add, or all of it where there is none of either."""
    bodies = [code.instructions[begin:end] for begin, end in _innermost(_loops(code))]
    best = max(bodies, key=_macs, default=[])
    if _macs(best):
        return _counted(best)
    begin, end = _unrolled(code.instructions)
    return _counted(code.instructions[begin:end])


def hottest_product(code: Code) -> Loop | None:
    """Of the products on tensor cores the one that multiplies most: its loop, or where it is none (one to three steps
    are not) what lies, between barriers, stores and ends of loops, from the first load of a fragment to the last
    multiplication. None where there is no such product."""
    spans, body = _loops(code), code.instructions
    loops = [(a, b) for a, b in _innermost(spans) if not any(each.kind in _PASSING for each in body[a:b])]
    ends = {end for span in spans for end in span} | {0, len(body)}
    ends |= {number for number, each in enumerate(body) if each.kind in _PASSING}
    found = [body[a:b] for a, b in loops]
    for a, b in pairwise(sorted(ends)):
        matrices = [number for number in range(a, b) if body[number].matrix]
        if matrices and not any(begin <= a and b <= end for begin, end in loops):
            found.append(body[matrices[0] : matrices[-1] + 1])
    best = max(found, key=_matrices, default=[])
    return _counted(best) if _matrices(best) else None


_PASSING = (Kind.STORE, Kind.BARRIER)
"""What a product has none of: there its sums are done with."""


def _loops(code: Code) -> list[tuple[int, int]]:
    """Where loops begin and end."""
    spans = []
    for number, instruction in enumerate(code.instructions):
        start = code.labels.get(instruction.target, number)
        if start < number:
            spans.append((start, number + 1))
    return spans


def _innermost(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those without others inside."""
    return [a for a in spans if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in spans)]


def _macs(body: Sequence[Instruction]) -> int:
    return sum(each.macs for each in body if each.kind is Kind.MULTIPLY)


def _matrices(body: Sequence[Instruction]) -> int:
    return sum(each.macs for each in body if each.kind is Kind.MULTIPLY and each.matrix)


def _unrolled(instructions: Sequence[Instruction]) -> tuple[int, int]:
    kinds = [each.kind for each in instructions]
    loads = [number for number, kind in enumerate(kinds) if kind in (Kind.SHARED, Kind.GLOBAL)]
    multiplies = [number for number, kind in enumerate(kinds) if kind is Kind.MULTIPLY]
    return (loads[0], multiplies[-1] + 1) if loads and multiplies else (0, len(kinds))


def _counted(body: Sequence[Instruction]) -> Loop:
    shared = [each for each in body if each.kind is Kind.SHARED]
    loaded = [each for each in body if each.kind is Kind.GLOBAL]
    return Loop(
        len(body),
        sum(each.kind is Kind.MULTIPLY for each in body),
        len(shared),
        sum(each.wide for each in shared),
        len(loaded),
        sum(each.wide for each in loaded),
    )
