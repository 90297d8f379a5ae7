"""Finds the loops of a program that was counted: what a processor spends its instructions on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mncc.devices.executed import classify

_BRANCH = re.compile(r"(?:b\.\w+|b|b(?:eq|ne|lt|le|gt|ge|hi|hs|lo|ls|mi|pl|cs|cc)|cbn?z|tbn?z)\b.*#(0x[0-9a-f]+|\d+)$")


@dataclass(frozen=True)
class Loop:
    """An innermost loop: the addresses of its first and last instruction, what they are, and how often a round of it
    ran. `instructions` is what all its rounds took together."""

    first: int
    last: int
    code: tuple[str, ...]
    rounds: int
    instructions: int

    @property
    def multiplies(self) -> int:
        """Vector multiplications in a round."""
        return sum(classify(text) == "multiply" for text in self.code)


def find_loops(ran: Mapping[int, tuple[str, int]]) -> list[Loop]:
    """The innermost loops of code (address -> instruction and how often it ran), most instructions first.

    A loop is what lies between a jump backwards and its goal, when all of that ran and no other such jump is inside.
    """
    addresses = sorted(ran)
    place = {address: index for index, address in enumerate(addresses)}
    spans = [
        (place[goal], index)
        for index, address in enumerate(addresses)
        for goal in _goal(ran[address][0])
        if goal <= address and goal in place
    ]
    inner = [
        (first, last)
        for first, last in spans
        if not any((a, b) != (first, last) and first <= a and b <= last for a, b in spans)
    ]
    loops = [_loop(addresses[first : last + 1], ran) for first, last in inner]
    return sorted(loops, key=lambda loop: -loop.instructions)


def loop_text(loop: Loop, cycles: Mapping[str, float]) -> str:
    """The loop with its numbers, the cycles of a round on some processors, and its instructions, a line each."""
    share = loop.multiplies / len(loop.code)
    head = (
        f"{loop.first:x}: {loop.instructions * 1e-6:.3f} M instructions in {loop.rounds:,} rounds of {len(loop.code)}, "
        f"{loop.multiplies} of them vector multiplications ({share:.0%})"
    )
    models = [f"    # {cpu}: {count:.1f} cycles in llvm-mca's model" for cpu, count in cycles.items()]
    return "\n".join([head, *models, *(f"    {text}" for text in loop.code)])


def _goal(text: str) -> list[int]:
    jump = _BRANCH.match(text)
    return [int(jump[1], 0)] if jump else []


def _loop(addresses: Sequence[int], ran: Mapping[int, tuple[str, int]]) -> Loop:
    code = tuple(ran[address][0] for address in addresses)
    return Loop(addresses[0], addresses[-1], code, ran[addresses[-1]][1], sum(ran[a][1] for a in addresses))
