"""What GPU kernels share: how threads divide a product among them, and how pixels lie in shared memory."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np

from mncc.kernels.gpu_target import WARP

QUAD = 4
"""Floats of a 128-bit access."""
PHASE = 8
"""Threads whose 128-bit accesses shared memory serves at once: all of its 32 banks."""
OCTET = 8
"""float16 numbers of a 128-bit access."""
HELD = 40
"""The most registers of a thread that hold what is on its way from memory while others are computed with."""
FRAGMENT = 16
"""Rows and columns of the matrices that tensor cores multiply."""


@dataclass(frozen=True)
class ThreadTiles:
    """How the threads of a block share a product of pixels x channels.

    A thread keeps the sums of `pixels` x `channels`; `across` threads stand side by side along the channels, `down`
    along the pixels, and `split` such groups take a part of the depth each.
    """

    pixels: int
    channels: int
    across: int
    down: int
    split: int = 1

    @property
    def threads(self) -> int:
        """Of the block."""
        return self.across * self.down * self.split

    @property
    def width(self) -> int:
        """Channels that the block computes together."""
        return self.across * self.channels

    @property
    def height(self) -> int:
        """Pixels that the block computes together."""
        return self.down * self.pixels

    @property
    def kept(self) -> int:
        """Sums that a thread keeps."""
        return self.pixels * self.channels

    def describe(self) -> str:
        """For printed plans."""
        split = f" x {self.split} parts of a chunk" if self.split > 1 else ""
        return f"{self.pixels}x{self.channels} sums a thread, {self.down}x{self.across} threads{split}"


@dataclass(frozen=True)
class WarpTiles(ThreadTiles):
    """The same for tensor cores: a warp keeps the sums of `pixels` x `channels`, whole fragments, and `across`, `down`
    and `split` count warps."""

    @property
    def threads(self) -> int:
        """Of the block."""
        return self.warps * WARP

    @property
    def warps(self) -> int:
        """Of the block."""
        return self.across * self.down * self.split

    @property
    def fragments(self) -> tuple[int, int]:
        """Of a warp, along the pixels and along the channels."""
        return self.pixels // FRAGMENT, self.channels // FRAGMENT

    @property
    def kept(self) -> int:
        """Sums that a thread keeps; where parts of the depth have met, whole octets of them."""
        if self.split > 1:
            return rounded(-(-self.height * self.width // self.threads), OCTET)
        return self.pixels * self.channels // WARP

    def describe(self) -> str:
        """For printed plans."""
        split = f" x {self.split} parts of a chunk" if self.split > 1 else ""
        return f"{self.pixels}x{self.channels} sums a warp, {self.down}x{self.across} warps{split}"


def steps_at_once(steps: int) -> int:
    """Of so many steps of a product on tensor cores, each 16 of the depth, how many stand one behind the other in its
    loop and load their fragments together. Three or fewer are no loop."""
    if steps <= 3:
        return steps
    counts = [count for count in range(1, 6) if steps % count == 0 and steps > count]
    return min(counts, key=lambda count: round_cost(steps // count) / count)


def round_cost(rounds: int) -> int:
    """Instructions of a round of that loop for its addresses and its end, as nvcc writes them: for few rounds it has no
    running addresses, or writes one behind the other."""
    return 0 if rounds == 1 else 8 if rounds <= 3 else 5


def rounded(count: int, unit: int) -> int:
    """`count` rounded up to a multiple of `unit`."""
    return -(-count // unit) * unit


def pitch(channels: int, across: int = 1) -> int:
    """Floats from one pixel to the next in shared memory, such that eight threads, of whom `across` read the same four
    channels of each pixel, find those of neighbouring pixels in different banks. Where they read two pixels at most,
    nothing lies between pixels if that will do, so that those who write them in a row meet no bank twice either."""
    quads = -(-channels // QUAD)
    if across >= PHASE // 2 and quads % PHASE:
        return quads * QUAD
    return (quads + 1 - quads % 2) * QUAD


def joined_pitch(tiles: ThreadTiles) -> int:
    """Floats from one pixel to the next where the threads of a product write their sums: eight threads in a row write
    `across` neighbouring quads of each of some pixels, which lie in different banks."""
    quads, across = tiles.width // QUAD, tiles.across
    if across >= PHASE:
        return tiles.width
    return next(count for count in range(quads, quads + 2 * PHASE) if count % (2 * across) == across) * QUAD


def half_pitch(channels: int) -> int:
    """The same for float16, in numbers of these: an odd multiple of eight. The rows of a fragment, which are loaded
    eight at once, lie in different banks."""
    octets = -(-channels // OCTET)
    return (octets + 1 - octets % 2) * OCTET


def vector_lanes(most: int, *sizes: int) -> int:
    """The widest access, in elements of which 128 bits hold `most`, that sizes and offsets which are multiples of all
    `sizes` allow: a power of two."""
    return gcd(most, *sizes)


def padded_matrix(matrix: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A matrix with zeros behind its rows and columns."""
    return np.pad(matrix, ((0, rows - matrix.shape[0]), (0, columns - matrix.shape[1])))
