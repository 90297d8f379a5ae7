"""A network's weights: one float32 array a node and role, and where they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Weights:
    """The tensors of a network in mncc's layouts (see `network/ops/base.py`); two are equal when their digests are."""

    tensors: Mapping[tuple[str, str], np.ndarray]
    """(node name, role) -> float32 array, read-only."""
    source: str
    """Where they came from, without any folder: `random:0`, `mobilenet_v2.pth (torchvision)`."""
    warnings: tuple[str, ...] = field(default=())
    """What a person should know although nothing is wrong."""

    def of(self, node: str) -> dict[str, np.ndarray]:
        """Role -> array of one node; empty for a node without weights."""
        return {role: array for (name, role), array in self.tensors.items() if name == node}

    def digest(self) -> str:
        """`sha256:...` over names, shapes and bytes, whatever the order of the tensors."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        total = hashlib.sha256()
        for (node, role), array in sorted(self.tensors.items()):
            total.update(f"{node}.{role} {'x'.join(map(str, array.shape))}\n".encode())
            total.update(np.ascontiguousarray(array, "<f4").tobytes())
        return f"sha256:{total.hexdigest()}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Weights) and self.digest() == other.digest()

    def __hash__(self) -> int:
        return hash(self.digest())


def frozen(array: np.ndarray) -> np.ndarray:
    """The array as contiguous, read-only float32."""
    result = np.ascontiguousarray(array, np.float32)
    if result is array:
        result = array.copy()
    result.flags.writeable = False
    return result
