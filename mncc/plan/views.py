"""Which values are channels of another value's memory: the parts of concatenations, written in place, and slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mncc.network.graph import Network, Node
from mncc.network.ops import Concat, Reshape, Slice


@dataclass(frozen=True)
class View:
    """`channels` channels of another value, from `start` on."""

    whole: str
    start: int
    channels: int


@dataclass(frozen=True)
class Views:
    """`views`: value -> what it is a part of. `joins`: concatenation -> its parts, which kernels write in place."""

    views: Mapping[str, View]
    joins: Mapping[str, tuple[str, ...]]

    def in_place(self, name: str) -> bool:
        """True for the concatenations and slices that no kernel computes."""
        return name in self.joins or (name in self.views and not self.is_part(name))

    def is_part(self, name: str) -> bool:
        """True for a part of a concatenation."""
        return name in self.views and name in self.joins.get(self.views[name].whole, ())


def find_views(network: Network) -> Views:
    """The views of a network in which every concatenation of pictures has parts that can lie in it (`own_parts`)."""
    views: dict[str, View] = {}
    joins: dict[str, tuple[str, ...]] = {}
    for node in network.nodes:
        if joins_channels(network, node):
            joins[node.name] = node.inputs
            start = 0
            for part in node.inputs:
                assert part not in views, f"{part} is a part of two values"
                views[part] = View(node.name, start, network.types[part].shape[-1])
                start += views[part].channels
        elif slices_channels(network, node):
            assert isinstance(node.op, Slice)
            views[node.name] = View(node.inputs[0], node.op.start, node.type.shape[-1])
    return Views(views, joins)


def joins_channels(network: Network, node: Node) -> bool:
    """True for a concatenation of pictures along their channels that kernels can write in place."""
    return (
        isinstance(node.op, Concat)
        and _is_last_axis(node.op.axis, node)
        and _is_picture(node)
        and not _is_reshaped(network, node.name)
    )


def slices_channels(network: Network, node: Node) -> bool:
    """True for a slice of a picture's channels that kernels can read where it lies; what is to be a part of a
    concatenation has to lie there."""
    return (
        isinstance(node.op, Slice)
        and _is_last_axis(node.op.axis, node)
        and _is_picture(node)
        and not _is_reshaped(network, node.name)
        and not _is_reshape(network.by_name.get(node.inputs[0]))
        and node.name not in {o.value for o in network.outputs}
        and not any(joins_channels(network, user) for user in network.users[node.name])
    )


def can_be_part(network: Network, value: str) -> bool:
    """True where the kernel that makes a value can write it into a concatenation."""
    node = network.by_name.get(value)
    if node is None or value in {o.value for o in network.outputs}:
        return False
    return not (_is_reshape(node) or _is_reshaped(network, value))


def _is_reshape(node: Node | None) -> bool:
    return node is not None and isinstance(node.op, Reshape)


def _is_last_axis(axis: int, node: Node) -> bool:
    return axis in (-1, node.type.rank - 1)


def _is_picture(node: Node) -> bool:
    """More than one pixel: a single one is a vector, for which batches have a layout of their own."""
    shape = node.type.shape
    return len(shape) == 4 and shape[1] * shape[2] > 1


def _is_reshaped(network: Network, value: str) -> bool:
    """True where a reshape shares the value's memory, which then has to be without gaps."""
    return any(isinstance(user.op, Reshape) for user in network.users[value])
