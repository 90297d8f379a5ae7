"""Where the pixels of a chunk of channels lie in shared memory, such that threads that are served together, eight with
128 bits each, find theirs in different banks. Where a pixel has eight quads of channels, or a multiple, they read one
pixel and nearly any place will do; where it has fewer they read several, and places are found by trying."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from mncc.kernels.gpu_tiles import PHASE, rounded


@dataclass(frozen=True)
class Chunk:
    """How a block's threads go through a chunk of `quads` times four channels of a window of `rows` x `cols` pixels.

    The lead makes `lead_size` pixels of it. The depthwise convolution makes `tile` pixels in runs of
    `run`, `stride` apart in the window. `lead` and `tail` are how many threads stand across and down in these products;
    without a lead the window is copied, without a tail nothing reads what is made.
    """

    quads: int
    rows: int
    cols: int
    lead_size: tuple[int, int]
    tile: tuple[int, int]
    run: int
    stride: tuple[int, int]
    lead: tuple[int, int] | None
    tail: tuple[int, int] | None


@dataclass(frozen=True)
class ChunkLayout:
    """In quads: from pixel to pixel of the window, from row to row, and from pixel to pixel of what is made of it.
    Neighbouring groups of threads make runs that are neighbours in a row or, `by_rows`, in a column. `free` is false
    where some of them meet in a bank."""

    pitch: int
    row: int
    made: int
    by_rows: bool = False
    free: bool = True


@cache
def chunk_layout(chunk: Chunk) -> ChunkLayout:
    """The smallest that keeps all threads apart; else, not `free`, one with an odd number of quads a pixel."""
    quads, found = chunk.quads, []
    # Where eight threads make one run it does not matter which run is next.
    for by_rows in (False, True) if quads % PHASE else (False,):
        items = _items(chunk, by_rows)
        window = next((size for size in _windows(chunk) if _window_apart(chunk, items, *size)), None)
        made = next((made for made in range(quads, quads + PHASE) if _made_apart(chunk, items, made)), None)
        if window and made:
            found.append(ChunkLayout(*window, made, by_rows))
    odd = quads + 1 - quads % 2
    return min(found, key=lambda each: each.row, default=ChunkLayout(odd, odd * chunk.cols, odd, free=False))


@cache
def window_pitch(quads: int, size: tuple[int, int], made: tuple[int, int], stride: tuple[int, int], across: int) -> int:
    """Quads from pixel to pixel of a window of `size` pixels of as many quads, such that threads are apart that copy it
    in a row, and those who make `made` pixels of it, `across` of them each: the fewest, or 0 where there are none."""
    item, number = np.arange(size[0] * size[1] * quads), np.repeat(np.arange(made[0] * made[1]), across)
    pixel = number // made[1] * stride[0] * size[1] + number % made[1] * stride[1]
    pitches = range(quads, quads + PHASE)
    return next((at for at in pitches if apart(pixel * at) and apart(item // quads * at + item % quads)), 0)


def _windows(chunk: Chunk) -> Iterator[tuple[int, int]]:
    """Quads from pixel to pixel and from row to row."""
    pads = (0, 2, 4, 6) if chunk.quads % PHASE else (0,)
    for pitch, pad in product(range(chunk.quads, chunk.quads + PHASE // 2 + 1), pads):
        yield pitch, chunk.cols * pitch + pad


def _items(chunk: Chunk, by_rows: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The quads, rows and first columns of the runs that threads make, in the order of the threads."""
    rows, runs = chunk.tile[0], chunk.tile[1] // chunk.run
    item = np.arange(chunk.quads * rows * runs)
    number = item // chunk.quads
    row, run = (number % rows, number // rows) if by_rows else (number // runs, number % runs)
    return item % chunk.quads, row, run * chunk.run


def _window_apart(chunk: Chunk, items: tuple[np.ndarray, ...], pitch: int, row: int) -> bool:
    quad, line, column = items
    if not apart(line * chunk.stride[0] * row + column * chunk.stride[1] * pitch + quad):
        return False
    if chunk.lead is None:
        item = np.arange(chunk.quads * chunk.rows * chunk.cols)
        pixel = item // chunk.quads
        return apart(pixel // chunk.cols * row + pixel % chunk.cols * pitch + item % chunk.quads)
    across, down = chunk.lead
    count, columns = chunk.lead_size[0] * chunk.lead_size[1], chunk.lead_size[1]
    # All of the lead's pixels in the order in which threads store them. Those behind the last are not stored; in their
    # stead stands the last one. Where in the window they begin is the same for all threads.
    numbers = np.repeat(np.minimum(np.arange(rounded(count, down)), count - 1), across)
    places = numbers // columns * row + numbers % columns * pitch
    return apart(places + np.arange(places.size) % across)


def _made_apart(chunk: Chunk, items: tuple[np.ndarray, ...], made: int) -> bool:
    if chunk.tail is None:
        return True
    quad, line, column = items
    across, down = chunk.tail
    return apart((line * chunk.tile[1] + column) * made + quad) and apart(np.arange(across * down) // across * made)


def apart(wanted: np.ndarray, asked: np.ndarray | None = None) -> bool:
    """True where of eight threads in a row no two want different quads, or eights of float16, that lie in the same
    banks; of all threads, or of those that `asked` at all."""
    asked = np.ones(wanted.size, bool) if asked is None else asked
    missing = -wanted.size % PHASE
    eight, some = (np.pad(each, (0, missing)).reshape(-1, PHASE) for each in (wanted, asked))
    between = eight[:, _PAIRS[0]] - eight[:, _PAIRS[1]]
    both = some[:, _PAIRS[0]] & some[:, _PAIRS[1]]
    return not bool((both & (between % PHASE == 0) & (between != 0)).any())


_PAIRS = np.triu_indices(PHASE, 1)
