"""Random small networks: every operator, branches, residuals, gates, several inputs and outputs."""

from __future__ import annotations

import contextlib
import math
from random import Random

from hypothesis import strategies as st

from mncc.language.source import Source, Span
from mncc.network.graph import Input, Network, Node, Origin, Output, check_network
from mncc.network.ops import (
    Activation,
    Add,
    AvgPool,
    ChannelShuffle,
    Concat,
    Conv2d,
    Dense,
    Depthwise,
    GlobalPool,
    MaxPool,
    Mean,
    Multiply,
    Norm,
    Op,
    Reshape,
    ShapeError,
    Slice,
    Softmax,
    Upsample,
)
from mncc.network.ops.activation import KINDS
from mncc.network.types import TensorType

SPAN = Span(Source("random.mn", "row"), 0, 3)
LARGEST = 40_000
"""Elements of a value, so that an example stays fast."""
STEPS = 14


class Builder:
    """A network that grows. `random` decides everything, so that hypothesis can shrink what it decided."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.types: dict[str, TensorType] = {}
        self.nodes: list[Node] = []

    def add(self, op: Op, *inputs: str) -> str:
        """Applies an operator; raises ShapeError where it does not fit or grows too large."""
        kind = op.infer(*(self.types[name] for name in inputs))
        if kind.elements > LARGEST:
            raise ShapeError("too large for a test")
        name = f"n{len(self.nodes)}.{op.name}"
        self.nodes.append(Node(name, op, inputs, kind, Origin(SPAN, op.name, 0)))
        self.types[name] = kind
        return name

    def pick(self, *options: int) -> int:
        """One of a few numbers."""
        return self.random.choice(options)

    def chance(self) -> bool:
        """True half the time."""
        return self.random.random() < 0.5

    def any_value(self, rank: int | None = None) -> str:
        """A value made so far, the last ones more often."""
        fitting = [name for name, kind in self.types.items() if rank in (None, kind.rank)]
        if not fitting:
            raise ShapeError("no such value")
        return self.random.choice(fitting[-3:] if self.chance() else fitting)

    def like(self, value: str) -> str:
        """Another value of the same shape, or the value itself."""
        return self.random.choice([name for name, kind in self.types.items() if kind == self.types[value]])

    def window(self, value: str) -> dict[str, object]:
        """Kernel, stride and padding of a convolution, mostly a usual one."""
        size = self.pick(1, 1, 3, 3, 3, 2, 5)
        kernel = (size, size if self.chance() else self.pick(1, 3))
        pads = tuple((k // 2, k // 2) if self.chance() else (self.pick(0, k // 2), self.pick(0, 1)) for k in kernel)
        stride = self.random.choice([(1, 1), (1, 1), (2, 2), (2, 1)])
        dilation = (1, 1) if self.chance() or size == 1 else (self.pick(1, 2), self.pick(1, 2))
        return {"kernel": kernel, "stride": stride, "padding": pads, "dilation": dilation}

    def activation(self, value: str) -> str:
        return self.add(Activation(self.random.choice(KINDS), 0.2), value)

    def tail(self, value: str) -> str:
        """Norm, activation and sum in the usual order, each of them or not."""
        if self.chance():
            value = self.add(Norm(1e-3), value)
        early = self.chance()
        if early and self.chance():
            value = self.activation(value)
        if self.chance():
            value = self.add(Add(), *self.random.sample([value, self.like(value)], 2))
        return value if early else self.activation(value)

    def convolution(self) -> str:
        value = self.any_value(4)
        channels = self.types[value].shape[-1]
        groups = self.random.choice([1, 1, *(g for g in range(2, channels + 1) if channels % g == 0)])
        out = groups * self.random.randint(1, max(1, 40 // groups))
        return self.tail(self.add(Conv2d(out, **self.window(value), groups=groups, bias=self.chance()), value))

    def depthwise(self) -> str:
        value = self.any_value(4)
        return self.tail(self.add(Depthwise(**self.window(value), multiplier=self.pick(1, 1, 2)), value))

    def bottleneck(self) -> str:
        """An inverted residual, or a separable pair."""
        source = value = self.any_value(4)
        channels, stride = self.types[value].shape[-1], self.pick(1, 1, 2)
        if self.chance():
            value = self.add(Conv2d(channels * self.pick(2, 3, 6)), value)
            value = self.add(Activation("relu6"), self.add(Norm(), value))
        value = self.add(Depthwise((3, 3), (stride, stride), ((1, 1), (1, 1))), value)
        value = self.add(Activation("relu6"), self.add(Norm(), value))
        value = self.add(Norm(), self.add(Conv2d(channels if self.chance() else self.random.randint(1, 40)), value))
        return self.add(Add(), value, source) if self.types[value] == self.types[source] else value

    def residual(self) -> str:
        """Two 3x3 convolutions around a value."""
        source = value = self.any_value(4)
        for channels in (self.pick(8, 16, 40), self.types[source].shape[-1]):
            value = self.add(Norm(), self.add(Conv2d(channels, (3, 3), padding=((1, 1), (1, 1))), value))
            if self.chance():
                value = self.activation(value)
        return self.activation(self.add(Add(), value, source))

    def pool(self) -> str:
        value = self.any_value(4)
        kernel, stride = (self.pick(2, 3), self.pick(2, 3)), (self.pick(1, 2), self.pick(1, 2, 3))
        padding = tuple((self.pick(0, 1), self.pick(0, 1)) for _ in range(2))
        if self.chance():
            return self.tail(self.add(MaxPool(kernel, stride, padding, self.chance()), value))
        return self.tail(self.add(AvgPool(kernel, stride, padding, self.chance(), self.chance()), value))

    def gate(self) -> str:
        """Squeeze and excitation."""
        value = self.any_value(4)
        channels = self.types[value].shape[-1]
        gate = self.add(GlobalPool(self.random.choice(["avg", "avg", "max"])), value)
        gate = self.add(Activation("relu"), self.add(Conv2d(max(1, channels // 4), bias=True), gate))
        gate = self.add(Activation("hard_sigmoid"), self.add(Conv2d(channels, bias=True), gate))
        return self.add(Multiply(), *self.random.sample([value, gate], 2))

    def unit_of_halves(self) -> str:
        """ShuffleNet v2: a half through a convolution, both joined and shuffled."""
        value = self.any_value(4)
        channels = self.types[value].shape[-1]
        half = self.random.randint(1, channels - 1) if channels > 1 else 1
        left, right = self.add(Slice(-1, 0, half), value), self.add(Slice(-1, half, channels), value)
        right = self.tail(self.add(Conv2d(half), right))
        return self.add(ChannelShuffle(2), self.add(Concat(), left, right))

    def joined(self) -> str:
        value = self.any_value()
        shape = self.types[value].shape
        fitting = [name for name, kind in self.types.items() if kind.shape[:-1] == shape[:-1]]
        return self.tail(self.add(Concat(), *(self.random.choice(fitting) for _ in range(self.random.randint(2, 4)))))

    def joined_rows(self) -> str:
        value = self.any_value()
        return self.add(Concat(1), value, self.like(value), value)

    def resized(self) -> str:
        value = self.any_value(4)
        size = (self.random.randint(1, 20), self.random.randint(1, 20))
        corners = self.chance()
        op = Upsample(size) if self.chance() else Upsample(size, "bilinear", corners)
        return self.tail(self.add(op, value))

    def single(self) -> str:
        """An operator on any value."""
        value = self.any_value()
        kind = self.types[value]
        axis = self.random.randint(1, kind.rank - 1)
        ops: list[Op] = [Softmax(), Mean(axis), Norm(1e-3), Activation(self.random.choice(KINDS))]
        if kind.shape[axis] > 1:
            start = self.random.randint(0, kind.shape[axis] - 2)
            ops.append(Slice(axis, start, self.random.randint(start + 1, kind.shape[axis])))
        return self.tail(self.add(self.random.choice(ops), value))

    def reshaped(self) -> str:
        value = self.any_value()
        shape = self.types[value].shape[1:]
        shapes = [(math.prod(shape),), (math.prod(shape[:-1]), shape[-1]), (1, 1, math.prod(shape))]
        if len(shape) == 3:
            shapes.append((shape[1], shape[0], shape[2]))
        return self.add(Reshape(self.random.choice(shapes)), value)

    def shuffled(self) -> str:
        """A shuffle in front of a product, a depthwise convolution or both."""
        value = self.any_value(4)
        channels = self.types[value].shape[-1]
        value = self.add(ChannelShuffle(self.random.choice([g for g in (1, 2, 3, 4) if channels % g == 0])), value)
        if self.chance():
            value = self.add(Conv2d(channels * self.pick(1, 2)), value)
        if self.chance():
            value = self.add(Depthwise((3, 3), padding=((1, 1), (1, 1))), value)
        return self.tail(self.add(Conv2d(self.random.randint(1, 20)), value))

    def head(self) -> str:
        """A classifier, with or without probabilities."""
        value = self.any_value()
        if self.types[value].rank == 4 and self.chance():
            value = self.add(GlobalPool(), value)
        if self.types[value].rank > 2:
            value = self.add(Reshape((math.prod(self.types[value].shape[1:]),)), value)
        value = self.tail(self.add(Dense(self.random.randint(1, 30), self.chance()), value))
        return self.add(Softmax(), value) if self.chance() else value

    def pair(self) -> str:
        """A sum or product, broadcast where it has to be."""
        op = Add() if self.chance() else Multiply()
        return self.tail(self.add(op, self.any_value(), self.any_value()))

    def step(self) -> None:
        """One of the moves above; what does not fit leaves the network without it."""
        moves = [
            *[self.convolution] * 3,
            self.shuffled,
            *[self.bottleneck] * 3,
            *[self.residual] * 2,
            *[self.depthwise, self.pool, self.gate, self.unit_of_halves, self.joined, self.joined_rows],
            *[self.resized, self.single, self.reshaped, self.head, self.pair],
        ]
        with contextlib.suppress(ShapeError):
            self.random.choice(moves)()


def build(random: Random) -> Network:
    """A network of some moves on one to three inputs, without what no output needs."""
    builder = Builder(random)
    batch = builder.pick(1, 1, 2, 3)
    size = (random.randint(1, 17), random.randint(1, 17))
    shapes = [(*size, builder.pick(3, 8, 1, 16, 5))]
    shapes += [(*size, builder.pick(3, 8, 7))] * builder.pick(0, 0, 1) + [(random.randint(1, 30),)] * builder.pick(0, 1)
    inputs = [Input(f"in{i}", TensorType((batch, *shape)), span=SPAN) for i, shape in enumerate(shapes)]
    builder.types.update({i.name: i.type for i in inputs})
    for _ in range(random.randint(1, STEPS)):
        builder.step()
    values = [list(builder.types)[-1], *(builder.any_value() for _ in range(builder.pick(0, 1, 2)))]
    outputs = tuple(Output(f"out{i}", value) for i, value in enumerate(values))
    needed = set(values)
    for node in reversed(builder.nodes):
        needed.update(node.inputs if node.name in needed else ())
    nodes = tuple(node for node in builder.nodes if node.name in needed)
    network = Network("random", tuple(inputs), nodes, outputs)
    check_network(network)
    return network


def networks() -> st.SearchStrategy[Network]:
    """Any of them."""
    return st.randoms(use_true_random=False).map(build)
