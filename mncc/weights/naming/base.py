"""What a producer's naming is: how its tensors group into operators, in which order, with which conventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from mncc.network.ops import Op
from mncc.network.types import TensorType
from mncc.network.window import PaddingMode
from mncc.weights.stored import Archive, Stored

Signature = tuple[str | int, ...]
"""("layer", kh, kw, inputs of a group, outputs) or ("norm", channels): what producers and networks are compared by."""


@dataclass(frozen=True)
class Convention:
    """What a producer trains with: padding where the stride makes a difference, and the epsilon of its norms."""

    padding: PaddingMode
    epsilon: float
    note: str = ""
    """What this choice says about the weights, where a producer has more than one convention."""


@dataclass(frozen=True)
class Module:
    """The tensors of one operator in a file."""

    name: str
    kind: Literal["layer", "norm", "other"]
    tensors: Mapping[str, Stored]
    """mncc's role -> tensor."""
    signature: Signature = ()
    unknown: Sequence[Stored] = field(default=())
    """Tensors under the module's name that have no role."""
    queue: str = ""
    """Where the file only says the order of the layers of one class: the class."""
    auxiliary: bool = False
    """Whether it belongs to a part that only training uses."""


class Naming(Protocol):
    """One producer's naming."""

    name: str
    by_name: bool
    """Whether modules have the names of the network's nodes; they are matched in execution order otherwise."""
    channels_first: bool
    """Whether a picture is flattened in the order (C, H, W), as torch does; mncc's is (H, W, C)."""

    def recognises(self, archive: Archive) -> bool:
        """Whether the file's names are of this producer."""

    def conventions(self, archive: Archive) -> tuple[Convention, ...]:
        """What its networks are trained with, the usual one first; none where a file can come from anybody."""

    def orders(self, archive: Archive) -> list[list[Module]]:
        """The file's operators in the order in which the producer's networks run them, as far as the file tells:
        where it does not, in each of the orders that are likely, the likeliest first."""

    def key(self, module: str, role: str) -> str:
        """The name that a tensor of a module has in the file."""

    def shape(self, role: str, op: Op, type: TensorType) -> tuple[int, ...]:
        """The shape that a role's tensor of this mncc type has in the file."""

    def convert(self, role: str, array: np.ndarray, op: Op, type: TensorType) -> np.ndarray:
        """A tensor of the file in mncc's layout."""

    def fits(self, role: str, shape: tuple[int, ...], op: Op, type: TensorType) -> bool:
        """Whether `convert` takes a tensor of this shape."""

    def default(self, role: str) -> float | None:
        """What a tensor holds that the producer leaves out where it would do nothing; None where it never does."""
