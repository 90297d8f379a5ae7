"""The self test's input and what it expects, as runtime/selftest.c has them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mncc.library.spec import Golden

GOLDEN_ELEMENTS = 16
TOLERANCES = {"float32": 1e-4, "float16": 5e-2}
"""Of the largest |element| of the output, by the type that is computed in."""


def selftest_input(index: int, elements: int) -> np.ndarray:
    """Input number `index` of the self test, flat: `elements` float32 in [-1, 1), every one exact in float32.

    MurmurHash3's 32-bit finalizer (Appleby, 2011) over the element's position, so that any part can be made alone.
    """
    h = np.arange(elements, dtype=np.uint32) * np.uint32(2654435761)
    h += np.uint32((index * 2246822507 + 1) % 2**32)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    return (h >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)


def make_goldens(outputs: Sequence[np.ndarray], tolerance: float = TOLERANCES["float32"]) -> tuple[Golden, ...]:
    """One Golden an output, from the float64 twin's outputs: elements spread evenly, first, last and largest among
    them, each good to `tolerance` of the largest. Raises ValueError where an output is not finite."""
    goldens = []
    for number, output in enumerate(outputs):
        flat = np.asarray(output, dtype=np.float64).reshape(-1)
        if not np.isfinite(flat).all():
            raise ValueError(f"output {number} of the reference is not finite")
        largest = int(np.argmax(np.abs(flat)))
        spread = np.linspace(0, flat.size - 1, min(flat.size, GOLDEN_ELEMENTS)).round().astype(np.int64)
        indices = sorted({largest, *(int(i) for i in spread)})
        values = tuple(float(np.float32(flat[i])) for i in indices)
        goldens.append(Golden(tuple(indices), values, tolerance * float(abs(flat[largest]))))
    return tuple(goldens)
