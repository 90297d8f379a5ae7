"""One library for several processors: their specs joined, with the weights that they have in common stored once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mncc.kernels.tiles import LINE
from mncc.library.spec import KernelEntry, LibrarySpec


def join_variants(specs: Sequence[LibrarySpec]) -> LibrarySpec:
    """The library that holds the kernels of all `specs`, one network compiled for several targets of one system, and
    chooses among them when it is loaded.

    A kernel's packed weights that are those of another, byte for byte, are stored once. What kernels fetch ahead of
    their own is then not always the next kernel's; such fetches are in vain, and change no result.
    """
    if len(specs) == 1:
        return specs[0]
    places: dict[bytes, int] = {}
    merged = bytearray()
    variants = []
    for spec in specs:
        kernels = []
        for kernel in spec.kernels:
            block = _weights_of(kernel, spec)
            if block not in places:
                merged += bytes(-len(merged) % LINE)
                places[block] = len(merged)
                merged += block
            kernels.append(replace(kernel, weights_offset=places[block]))
        variants.append(replace(spec, kernels=tuple(kernels)))
    weights = np.frombuffer(bytes(merged), np.uint8)
    joined = tuple(replace(variant, weights=weights) for variant in variants)
    largest = max(joined, key=lambda variant: variant.tensor_bytes + variant.scratch_bytes)
    return replace(largest, variants=joined)


def _weights_of(kernel: KernelEntry, spec: LibrarySpec) -> bytes:
    """A kernel's packed weights: they end where those of the next one begin."""
    starts = sorted({spec.weights.nbytes, *(other.weights_offset for other in spec.kernels)})
    end = next((start for start in starts if start > kernel.weights_offset), kernel.weights_offset)
    return np.ascontiguousarray(spec.weights).reshape(-1).view(np.uint8)[kernel.weights_offset : end].tobytes()
