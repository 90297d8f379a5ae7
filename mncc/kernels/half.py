"""Arithmetic in float16: how much of a product may add up in it, and what a CPU is to the cost model then.

A sum in float16 is rounded at every step to 11 bits. After c steps of like-sized terms the sum is c^(1/2) terms large,
and the errors of the steps, each at most 2^-12 of the sum as it stands, have added up to about 0.2 c^(1/2) 2^-11 of it
(a random walk's; 0.5 c 2^-11 where all terms have one sign and all errors too). Sums of such parts in float32 keep that
share whatever their number. With c = 64 it is 0.8e-3, four times the error of rounding the finished sum to float16,
which happens in any case; a whole reduction of 960 steps would have 3e-3.
"""

from __future__ import annotations

from dataclasses import replace

from mncc.kernels.target import Target

MOST_STEPS = 64
"""Multiply-adds that add up in float16; more are cut into parts of up to as many, whose sums add up in float32."""


def part_of(length: int, multiple: int = 1) -> int:
    """Of an innermost reduction of `length` steps, how many add up in float16: the most that divide it, and where
    `multiple` of them are taken at once, are a multiple of that."""
    return max(size for size in range(multiple, MOST_STEPS + 1, multiple) if length % size == 0)


def in_half(target: Target) -> Target:
    """A CPU as its kernels in float16 see it: vectors of twice as many elements, and caches that hold twice as many.
    The cost model counts elements of four bytes, which is why bytes count double here."""
    lanes = 2 * target.lanes
    return replace(
        target,
        lanes=lanes,
        narrow=(lanes, *target.narrow),
        full=2 * target.full,
        l1=2 * target.l1,
        l2=2 * target.l2,
        l3=2 * target.l3,
        l2_bytes=2 * target.l2_bytes,
        l3_bytes=2 * target.l3_bytes,
        memory_bytes=2 * target.memory_bytes,
    )
