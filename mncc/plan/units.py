"""Nodes -> units. A convolution takes the norm and the activation behind it; other operators take the
element-wise ones. Batch norms are folded here; their numbers follow when the weights are packed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mncc.kernels.limits import KERNEL_TENSORS
from mncc.network.graph import Network, Node
from mncc.network.ops import Activation, Add, Conv2d, Dense, Depthwise, Multiply, Norm, Reshape
from mncc.plan.views import Views

CONVOLUTIONS = (Conv2d, Depthwise, Dense)


@dataclass(frozen=True)
class Unit:
    """Nodes that belong together: the first one and what rides in its epilogue.

    For a convolution: `norm`, `activation` and, between or behind them, `residual`, the name of the value added.
    """

    nodes: tuple[Node, ...]
    norm: Node | None = None
    activation: Activation | None = None
    residual: str | None = None
    residual_first: bool = False

    @property
    def head(self) -> Node:
        """The node that gives the unit its kind."""
        return self.nodes[0]

    @property
    def output(self) -> str:
        """The value it makes."""
        return self.nodes[-1].name

    @property
    def is_convolution(self) -> bool:
        """True where a chain can take it."""
        return isinstance(self.head.op, CONVOLUTIONS)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Values it reads and does not make."""
        made = {n.name for n in self.nodes}
        return tuple(dict.fromkeys(name for n in self.nodes for name in n.inputs if name not in made))


def find_units(network: Network, views: Views) -> tuple[Unit, ...]:
    """The network's nodes in units, each node in one, in the order of their last nodes. What is a view stays alone:
    nothing computes it that could have an epilogue."""
    outputs = {o.value for o in network.outputs}
    position = {n.name: i for i, n in enumerate(network.nodes)}
    taken: set[str] = set()
    units = []
    for node in network.nodes:
        if node.name in taken:
            continue
        unit = Unit((node,))
        while not views.in_place(node.name):
            following = _only_user(network, unit.output, outputs)
            fits = following is not None and following.name not in taken
            grown = _grow(network, unit, following, position) if following is not None and fits else None
            if grown is None:
                break
            unit = grown
        taken.update(n.name for n in unit.nodes)
        units.append(unit)
    return tuple(sorted(units, key=lambda u: position[u.output]))


def _only_user(network: Network, value: str, outputs: set[str]) -> Node | None:
    users = network.users[value]
    return users[0] if len(users) == 1 and value not in outputs else None


def _grow(network: Network, unit: Unit, node: Node, position: dict[str, int]) -> Unit | None:
    """The unit with `node` in its epilogue; None where it does not belong there."""
    nodes = (*unit.nodes, node)
    if isinstance(unit.head.op, Reshape):
        return None
    if not unit.is_convolution:
        elementwise = isinstance(node.op, Norm | Activation | Add | Multiply) and node.type == unit.nodes[-1].type
        grown = replace(unit, nodes=nodes)
        fits = len(grown.inputs) < KERNEL_TENSORS
        return grown if elementwise and fits and _ready(unit, node, position) else None
    if isinstance(node.op, Norm):
        first = unit.norm is None and unit.activation is None and unit.residual is None
        return replace(unit, nodes=nodes, norm=node) if first else None
    if isinstance(node.op, Activation):
        if unit.activation is not None:
            return None
        return replace(unit, nodes=nodes, activation=node.op, residual_first=unit.residual is not None)
    if isinstance(node.op, Add) and unit.residual is None and _ready(unit, node, position):
        other = [name for name in node.inputs if name != unit.output]
        # A chain adds pixel by pixel: what is broadcast is not a residual.
        same = all(network.types[name] == unit.nodes[-1].type for name in (node.name, *other))
        return replace(unit, nodes=nodes, residual=other[0]) if len(other) == 1 and same else None
    return None


def _ready(unit: Unit, node: Node, position: dict[str, int]) -> bool:
    """True where the node's other operand exists before the unit's last node: of two branches the later one adds."""
    return all(position.get(name, -1) < position[unit.output] for name in node.inputs if name != unit.output)
