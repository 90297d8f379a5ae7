"""Collects the nodes of a network while it is elaborated, under unique names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mncc.elaborate.values import Tensor
from mncc.network.graph import Node, Origin
from mncc.network.ops import Op
from mncc.network.types import TensorType

MAX_NODES = 10_000
"""Operators of a network; the deepest published ones have some 2,000."""


class Builder:
    """Nodes in the order of their making. Names that recur get a number: `conv`, `conv2`."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._taken: dict[str, int] = {}

    def unique(self, name: str) -> str:
        """The name, with a number behind it where it is taken; it is taken from then on."""
        candidate = name
        while candidate in self._taken:
            self._taken[name] += 1
            candidate = f"{name}{self._taken[name]}"
        self._taken[candidate] = 1
        return candidate

    def add(self, op: Op, inputs: Sequence[Tensor], name: str, origin: Origin) -> Tensor:
        """A node and the tensor that it makes. Raises ShapeError where the operator refuses its inputs."""
        result: TensorType = op.infer(*(tensor.type for tensor in inputs))
        name = self.unique(name)
        self.nodes.append(Node(name, op, tuple(tensor.name for tensor in inputs), result, origin))
        return Tensor(name, result)


def slug(word: str) -> str:
    """A word as part of a node's name: letters, digits and underscores."""
    return re.sub(r"[^0-9A-Za-z_]+", "_", word.strip()).strip("_").lower() or "node"


def join_name(*parts: str) -> str:
    """The parts that are not empty, with dots between them."""
    return ".".join(part for part in parts if part)
