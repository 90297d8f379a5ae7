"""The graph before any decision about hardware: values that operators make from values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from mncc.language.source import Span
from mncc.network.ops.base import Op
from mncc.network.types import TensorType


@dataclass(frozen=True)
class Origin:
    """Where a node came from: the table row (or output line) and the place in it."""

    span: Span = field(compare=False)
    """The row in the user's file."""
    row: str
    """The row as tables show it, e.g. `bottleneck`; operator words as the file writes them."""
    index: int
    """Number of the row in the body, from 0; -1 for lines outside of the table."""
    repeat: int = 0
    """Which of the row's n repeats, from 0."""


@dataclass(frozen=True)
class Node:
    """One operator applied to values. The value that it makes has the node's name."""

    name: str
    """Unique in the network, made of the row's number, the repeat and the name inside the block: `r3.1.expand.conv`."""
    op: Op
    inputs: tuple[str, ...]
    type: TensorType
    origin: Origin


@dataclass(frozen=True)
class Input:
    """A network's input and how a picture becomes one: (value / 255 - mean) / std per channel."""

    name: str
    type: TensorType
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channels: str = "RGB"
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Output:
    """A named result. `kind` is `logits`, `probabilities` (a softmax made it) or `features`."""

    name: str
    value: str
    kind: str = "logits"


@dataclass(frozen=True)
class Network:
    """Nodes in topological order. `settings` are the parameters' final values (width, resolution, batch, ...)."""

    name: str
    inputs: tuple[Input, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Output, ...]
    settings: Mapping[str, float | int | str] = field(default_factory=dict)

    @cached_property
    def types(self) -> Mapping[str, TensorType]:
        """Value name -> type, inputs included."""
        types = {i.name: i.type for i in self.inputs}
        types.update((n.name, n.type) for n in self.nodes)
        return types

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """Node name -> node."""
        return {n.name: n for n in self.nodes}

    @cached_property
    def users(self) -> Mapping[str, tuple[Node, ...]]:
        """Value name -> the nodes that read it, in order."""
        users: dict[str, list[Node]] = {name: [] for name in self.types}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                users[name].append(node)
        return {name: tuple(nodes) for name, nodes in users.items()}

    def input_types(self, node: Node) -> tuple[TensorType, ...]:
        """The types of a node's inputs, in order."""
        return tuple(self.types[name] for name in node.inputs)

    def weights(self, node: Node) -> Mapping[str, TensorType]:
        """The node's weight tensors: role -> type."""
        return node.op.weights(*self.input_types(node))

    @property
    def macs(self) -> int:
        """Multiply-adds of the whole network and batch; a multiply-add counts once."""
        return sum(n.op.macs(*self.input_types(n)) for n in self.nodes)

    @property
    def params(self) -> int:
        """Trainable parameters, as torch's `parameters()` counts them."""
        return sum(n.op.params(*self.input_types(n)) for n in self.nodes)


def check_network(network: Network) -> None:
    """The invariants that hold after every pass on a Network; raises AssertionError naming the node."""
    known = {i.name for i in network.inputs}
    assert len(known) == len(network.inputs), "two inputs share a name"
    for node in network.nodes:
        missing = [name for name in node.inputs if name not in known]
        assert not missing, f"{node.name} reads {missing} before they are defined"
        assert node.name not in known, f"{node.name} is defined twice"
        inferred = node.op.infer(*network.input_types(node))
        assert inferred == node.type, f"{node.name} is declared {node.type} but its operator makes {inferred}"
        known.add(node.name)
    for output in network.outputs:
        assert output.value in known, f"output {output.name} names {output.value}, which nothing makes"
