"""What the counting plugin says about a program: which instructions ran, how often, and for which mark."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Class = Literal["multiply", "vector", "load", "store", "other"]
CLASSES: tuple[Class, ...] = ("multiply", "vector", "load", "store", "other")
"""Multiplications of vectors of floats, with or without a sum; whatever else is done with vector registers (moves,
activations, and single floats, which live there too); loads and prefetches; stores; addresses, loops and calls."""

_MULTIPLY = re.compile(r"v?f?(mul|mla|mls|ma|ms|nma|nms)(\.f\d+)? (v\d+\.|q\d|d\d+, d\d)")
_LOAD = re.compile(r"(ld|prf|pld|vld|pop\b)")
_STORE = re.compile(r"(st|vst|push\b|vpush\b)")
_VECTOR = re.compile(r"[ {,](v\d+\.|[qds]\d+\b)")
_BYTES = re.compile(r"\.byte (0x..), (0x..), (0x..), (0x..)$")
"""What qemu 7.2 makes of arithmetic in float16, which its disassembler does not know."""


@dataclass(frozen=True)
class Block:
    """A straight piece of code, as qemu translated it: addresses and texts of its instructions, and mark tag -> how
    often it ran. The same instruction may lie in several blocks."""

    code: tuple[tuple[int, str], ...]
    ran: Mapping[int, int]


@dataclass(frozen=True)
class Executed:
    """All that ran before a mark. `marks`: tag -> how often it was set."""

    marks: Mapping[int, int]
    blocks: tuple[Block, ...]

    def total(self, tag: int) -> int:
        """Instructions that ran before a mark with this tag and after the mark before it."""
        return sum(len(block.code) * block.ran.get(tag, 0) for block in self.blocks)

    def classes(self, tag: int) -> dict[Class, int]:
        """The same by classes, all of which are there."""
        counts: Counter[Class] = Counter()
        for block in self.blocks:
            times = block.ran.get(tag, 0)
            if times:
                for _, text in block.code:
                    counts[classify(text)] += times
        return {name: counts[name] for name in CLASSES}

    def by_address(self, tags: Iterable[int]) -> dict[int, tuple[str, int]]:
        """Address -> the instruction there, and how often it ran for one of the tags; in the order of addresses."""
        wanted = frozenset(tags)
        found: dict[int, tuple[str, int]] = {}
        for block in self.blocks:
            times = sum(times for tag, times in block.ran.items() if tag in wanted)
            if times:
                for address, text in block.code:
                    found[address] = (text, times + found.get(address, ("", 0))[1])
        return dict(sorted(found.items()))


def classify(text: str) -> Class:
    """The class of a disassembled instruction of 64-bit or 32-bit Arm."""
    text = " ".join(text.split())
    if unknown := _BYTES.match(text):
        return _classify_half(int.from_bytes(bytes(int(byte, 16) for byte in unknown.groups()), "little"))
    if _MULTIPLY.match(text):
        return "multiply"
    if _LOAD.match(text):
        return "load"
    if _STORE.match(text):
        return "store"
    return "vector" if _VECTOR.search(text) else "other"


def _classify_half(word: int) -> Class:
    """The class of an instruction of 64-bit Arm that is arithmetic of float16, if it is one."""
    by_vector = word & 0xBF60FC00 == 0x0E400C00 or word & 0xBFE0FC00 == 0x2E401C00  # fmla, fmls; fmul
    by_lane = word & 0xBFC03400 == 0x0F001000  # fmla, fmls, fmul
    if by_vector or by_lane:
        return "multiply"
    return "vector" if word >> 25 & 7 == 7 else "other"


def read_executed(text: str) -> Executed:
    """The plugin's file, whose form count_blocks.c describes. Raises ValueError where it is not complete."""
    lines = iter(text.splitlines())
    marks: dict[int, int] = {}
    blocks: list[Block] = []
    ran: dict[int, int] = {}
    for line in lines:
        match line.split():
            case ["mark", tag, times]:
                marks[int(tag)] = int(times)
            case ["block", _, count]:
                ran = {}
                blocks.append(Block(tuple(_code(lines, int(count))), ran))
            case ["ran", tag, times] if blocks:
                ran[int(tag)] = int(times)
            case ["end"]:
                return Executed(marks, tuple(blocks))
            case _:
                raise ValueError(f"the counting plugin wrote {line!r}")
    raise ValueError("the counting plugin's file has no end")


def _code(lines: Iterator[str], count: int) -> Iterator[tuple[int, str]]:
    for _ in range(count):
        address, _, text = next(lines, "").partition(" ")
        yield int(address, 16), text.strip()
