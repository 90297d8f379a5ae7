"""mncc's own naming: `node.role`, in mncc's layouts, matched by name."""

from __future__ import annotations

import numpy as np

from mncc.network.ops import Op
from mncc.network.types import TensorType
from mncc.weights.naming.base import Convention, Module
from mncc.weights.stored import Archive, Stored

ROLES = ("kernel", "bias", "gamma", "beta", "mean", "variance")


class Own:
    """`r3.1.expand.conv.kernel`, `r3.1.expand.norm.gamma`."""

    name = "mncc"
    by_name = True
    channels_first = False

    def recognises(self, archive: Archive) -> bool:
        """Every name ends in a role, and one at least in a role that torch does not have."""
        last = {key.rpartition(".")[2] for key in archive.tensors}
        return not archive.keras and bool(last) and last <= set(ROLES) and bool(last - {"bias"})

    def conventions(self, archive: Archive) -> tuple[Convention, ...]:
        """None: the names say nothing about a training."""
        return ()

    def orders(self, archive: Archive) -> list[list[Module]]:
        """The file's operators; their order means nothing."""
        grouped: dict[str, dict[str, Stored]] = {}
        for key, stored in archive.tensors.items():
            prefix, _, role = key.rpartition(".")
            grouped.setdefault(prefix, {})[role] = stored
        return [[Module(name, "norm" if "gamma" in roles else "layer", roles) for name, roles in grouped.items()]]

    def key(self, module: str, role: str) -> str:
        """`node.role`."""
        return f"{module}.{role}"

    def shape(self, role: str, op: Op, type: TensorType) -> tuple[int, ...]:
        """mncc's own."""
        return type.shape

    def convert(self, role: str, array: np.ndarray, op: Op, type: TensorType) -> np.ndarray:
        """Nothing to do."""
        return array

    def fits(self, role: str, shape: tuple[int, ...], op: Op, type: TensorType) -> bool:
        """Equal shapes."""
        return shape == type.shape

    def default(self, role: str) -> float | None:
        """Nothing is left out."""
        return None
