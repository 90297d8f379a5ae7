"""What a weights file holds, before anything of it is matched to a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Stored:
    """One tensor of a file. Its bytes are only read when the shape has been found right: a hostile file may declare
    a shape that no memory could hold."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """`float32`, `float16`, `bfloat16`, `float64`; anything else is not a weight."""
    read: Callable[[], np.ndarray] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Archive:
    """A file's tensors in the order in which the file has them."""

    tensors: Mapping[str, Stored]
    epsilon: float | None = None
    """The epsilon of all batch norms, where the file says it."""
    keras: bool = False
    """Whether Keras wrote it (its layouts and names differ from torch's)."""
    defined: bool = False
    """Whether the file's order is that in which a program defined its modules (a torch state dict)."""
    queues: Mapping[str, str] = field(default_factory=dict)
    """Layer -> its class, where the file only has the order of the layers of one class (Keras 3's weights alone)."""
    warning: str = ""
    """What had to be assumed because the file does not say it."""


FLOATS = ("float32", "float16", "bfloat16", "float64")
"""Element types that are taken and converted to float32."""
