"""What all torch namings share: `module.weight`, `module.bias`, `module.running_mean`, and torch's layouts."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from mncc.network.ops import Dense, Depthwise, Op
from mncc.network.types import TensorType
from mncc.weights.naming.base import Module, Signature
from mncc.weights.stored import Archive, Stored

NORM = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "variance"}
LAYER = {"weight": "kernel", "bias": "bias"}
IGNORED = "num_batches_tracked"
AUXILIARY = re.compile(r"^(AuxLogits|aux\d*|aux_classifier)\.")
"""Heads in the middle of a network that only training uses (GoogLeNet, Inception, torchvision's segmentation)."""
MAX_DEPTH = 32
"""Parts of a name that parents are made of; real names have fewer than ten."""


class TorchModules:
    """Base of the torch namings; a naming adds its recognition, order and conventions."""

    name = "torch"
    by_name = False
    channels_first = True

    @abstractmethod
    def order(self, name: str, names: frozenset[str]) -> Any:
        """What modules sort by, from a module's name and the names of all modules and their parents."""

    def orders(self, archive: Archive) -> list[list[Module]]:
        """The order of definition, where the file has it, which is nearly always that of execution; then the names'."""
        modules = self._modules(archive)
        names = parents_and_all(modules)
        by_name = [modules[name] for name in sorted(modules, key=lambda name: self.order(name, names))]
        defined = list(modules.values())
        return [defined, by_name] if archive.defined and defined != by_name else [by_name]

    def _modules(self, archive: Archive) -> dict[str, Module]:
        grouped: dict[str, dict[str, Stored]] = {}
        for key, stored in archive.tensors.items():
            prefix, _, last = key.rpartition(".")
            if last != IGNORED:
                grouped.setdefault(prefix, {})[last] = stored
        return {name: _module(name, tensors) for name, tensors in grouped.items()}

    def key(self, module: str, role: str) -> str:
        """`features.0.0` and `kernel` -> `features.0.0.weight`."""
        torch_names = {ours: theirs for table in (NORM, LAYER) for theirs, ours in table.items()}
        return f"{module}.{torch_names[role]}"

    def shape(self, role: str, op: Op, type: TensorType) -> tuple[int, ...]:
        """(out, in / groups, kh, kw) for convolutions, (out, in) for dense layers."""
        if role != "kernel":
            return type.shape
        if isinstance(op, Dense):
            return type.shape[::-1]
        kh, kw, c, out = type.shape
        return (c * out, 1, kh, kw) if isinstance(op, Depthwise) else (out, c, kh, kw)

    def convert(self, role: str, array: np.ndarray, op: Op, type: TensorType) -> np.ndarray:
        """Transposes; a Linear and a 1x1 convolution stand for each other."""
        if role != "kernel":
            return array
        array = array.reshape(self.shape(role, op, type))
        if isinstance(op, Dense):
            return array.T
        if isinstance(op, Depthwise):
            kh, kw, c, multiplier = type.shape
            return array.reshape(c, multiplier, kh, kw).transpose(2, 3, 0, 1)
        return array.transpose(2, 3, 1, 0)

    def fits(self, role: str, shape: tuple[int, ...], op: Op, type: TensorType) -> bool:
        """Equal shapes, but for the two trailing ones of a 1x1 convolution."""
        expected = self.shape(role, op, type)
        return shape == expected or (role == "kernel" and (*shape, 1, 1)[:4] == (*expected, 1, 1)[:4])

    def default(self, role: str) -> float | None:
        """Torch leaves nothing out that a network of these namings has."""
        return None


def parents_and_all(names: Mapping[str, Any]) -> frozenset[str]:
    """The names of modules and of everything that they lie in."""
    parts = [name.split(".") for name in names]
    return frozenset(".".join(part[:depth]) for part in parts for depth in range(1, min(len(part), MAX_DEPTH) + 1))


def _module(name: str, tensors: dict[str, Stored]) -> Module:
    auxiliary = bool(AUXILIARY.match(f"{name}."))
    norm = "running_mean" in tensors or "running_var" in tensors
    weight = tensors.get("weight")
    if not norm and weight is not None and len(weight.shape) == 1 and re.search(r"(bn|norm)\w*$", name):
        norm = True  # a norm whose statistics are missing
    table = NORM if norm else LAYER
    roles = {table[last]: stored for last, stored in tensors.items() if last in table}
    unknown = tuple(stored for last, stored in tensors.items() if last not in table)
    if norm:
        size = next(iter(tensors.values())).shape
        return Module(name, "norm", roles, ("norm", *size), unknown, auxiliary=auxiliary)
    if weight is None or len(weight.shape) not in (2, 4):
        return Module(name, "other", {}, (), tuple(tensors.values()), auxiliary=auxiliary)
    out, depth, kh, kw = (*weight.shape, 1, 1)[:4]
    signature: Signature = ("layer", kh, kw, depth, out)
    return Module(name, "layer", roles, signature, unknown, auxiliary=auxiliary)
