"""Small networks built by hand, without the language, for tests of weights and of the twin."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mncc.language.source import Source, Span
from mncc.network.graph import Input, Network, Node, Origin, Output, check_network
from mncc.network.ops import Activation, Add, Conv2d, Dense, Depthwise, GlobalPool, Norm, Op, Reshape
from mncc.network.types import TensorType
from mncc.network.window import PaddingMode, resolve_padding
from mncc.weights import Weights


@dataclass
class Builder:
    """Appends nodes; every row of `rows` is a line of the source that spans point into."""

    rows: tuple[str, ...]
    size: int = 16
    channels: int = 3
    padding: PaddingMode = "symmetric"
    epsilon: float = 1e-5
    nodes: list[Node] = field(default_factory=list)
    types: dict[str, TensorType] = field(default_factory=dict)
    row: int = 0

    def __post_init__(self) -> None:
        self.source = Source("tiny.mn", "\n".join(self.rows) + "\n")
        self.types["image"] = TensorType((1, self.size, self.size, self.channels))

    def add(self, name: str, op: Op, *inputs: str) -> str:
        type = op.infer(*(self.types[i] for i in inputs))
        start = sum(len(row) + 1 for row in self.rows[: self.row])
        span = Span(self.source, start, start + len(self.rows[self.row]))
        self.nodes.append(Node(name, op, inputs, type, Origin(span, self.rows[self.row].split()[0], self.row)))
        self.types[name] = type
        return name

    def conv(self, name: str, x: str, channels: int, kernel: int = 1, stride: int = 1, bias: bool = False) -> str:
        pads = self.pads(x, kernel, stride)
        return self.add(name, Conv2d(channels, (kernel, kernel), (stride, stride), pads, bias=bias), x)

    def depthwise(self, name: str, x: str, kernel: int = 3, stride: int = 1) -> str:
        return self.add(name, Depthwise((kernel, kernel), (stride, stride), self.pads(x, kernel, stride)), x)

    def pads(self, x: str, kernel: int, stride: int) -> tuple[tuple[int, int], tuple[int, int]]:
        _, h, w, _ = self.types[x].shape
        return resolve_padding(self.padding, h, kernel, stride), resolve_padding(self.padding, w, kernel, stride)

    def norm(self, name: str, x: str, activation: str | None = "relu6") -> str:
        x = self.add(f"{name}.norm", Norm(self.epsilon), x)
        return self.add(f"{name}.act", Activation(activation), x) if activation else x

    def network(self, output: str, classes: int | None = None, name: str = "tiny") -> Network:
        image = Input("image", self.types["image"], (0.5,) * self.channels, (0.25,) * self.channels)
        settings = {} if classes is None else {"classes": classes}
        network = Network(name, (image,), tuple(self.nodes), (Output("scores", output),), settings)
        check_network(network)
        return network


ROWS = (
    "conv2d      3x3   8",
    "bottleneck  t=2  12  s=2",
    "bottleneck  t=2  12",
    "conv2d 1x1  24",
    "avgpool",
    "dense  10",
)


def residuals(
    padding: PaddingMode = "symmetric",
    epsilon: float = 1e-5,
    classes: int = 10,
    flat_classifier: bool = True,
    width: int = 1,
    kernel: int = 3,
) -> Network:
    """A stem, two inverted residuals, a head and a classifier: MobileNetV2 in small."""
    b = Builder(ROWS, padding=padding, epsilon=epsilon)
    x = b.norm("r0", b.conv("r0.conv", "image", 8 * width, 3, 2))
    for row, stride in ((1, 2), (2, 1)):
        b.row = row
        expanded = b.norm(f"r{row}.expand", b.conv(f"r{row}.expand.conv", x, 2 * b.types[x].shape[-1]))
        deep = b.norm(f"r{row}.dw", b.depthwise(f"r{row}.dw.conv", expanded, kernel, stride))
        y = b.norm(f"r{row}.project", b.conv(f"r{row}.project.conv", deep, 12 * width), None)
        x = b.add(f"r{row}.add", Add(), y, x) if stride == 1 else y
    b.row = 3
    x = b.norm("r3", b.conv("r3.conv", x, 24 * width))
    b.row = 4
    x = b.add("r4.pool", GlobalPool(), x)
    b.row = 5
    if flat_classifier:
        x = b.add("r5.dense", Dense(classes), b.add("r5.flat", Reshape((24 * width,)), x))
    else:
        x = b.add("r5.flat", Reshape((classes,)), b.conv("r5.conv", x, classes, bias=True))
    return b.network(x, classes)


TORCHVISION = (
    *("features.0.0", "features.0.1"),
    *(f"features.{i}.conv.{part}" for i in (1, 2) for part in ("0.0", "0.1", "1.0", "1.1", "2", "3")),
    *("features.3.0", "features.3.1", "classifier.1"),
)
TIMM = (
    *("conv_stem", "bn1"),
    *(f"blocks.0.{i}.{part}" for i in (0, 1) for part in ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")),
    *("conv_head", "bn2", "classifier"),
)
KERAS = (
    *("Conv1", "bn_Conv1"),
    *(
        f"block_{i}_{part}"
        for i in (1, 2)
        for part in ("expand", "expand_BN", "depthwise", "depthwise_BN", "project", "project_BN")
    ),
    *("Conv_1", "Conv_1_bn", "predictions"),
)
"""What the three producers call the modules of `residuals`, in execution order."""

TORCH_ROLES = {
    "kernel": "weight",
    "gamma": "weight",
    "bias": "bias",
    "beta": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}


def torch_state(network: Network, weights: Weights, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The weights as torch would hold them, under these module names."""
    state: dict[str, np.ndarray] = {}
    nodes = [node for node in network.nodes if network.weights(node)]
    for node, module in zip(nodes, names, strict=True):
        for role, array in weights.of(node.name).items():
            if isinstance(node.op, Dense) and role == "kernel":
                array = array.T
            elif isinstance(node.op, Depthwise) and role == "kernel":
                kh, kw, c, multiplier = array.shape
                array = array.transpose(2, 3, 0, 1).reshape(c * multiplier, 1, kh, kw)
            elif role == "kernel":
                array = array.transpose(3, 2, 0, 1)
            state[f"{module}.{TORCH_ROLES[role]}"] = np.array(array, order="C")
        if isinstance(node.op, Norm):
            state[f"{module}.num_batches_tracked"] = np.array(7, np.int64)
    return state


KERAS_ROLES = {"mean": "moving_mean", "variance": "moving_variance"}


def keras_state(network: Network, weights: Weights, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The weights as Keras would hold them: `layer/variable` -> array."""
    state: dict[str, np.ndarray] = {}
    nodes = [node for node in network.nodes if network.weights(node)]
    for node, layer in zip(nodes, names, strict=True):
        for role, array in weights.of(node.name).items():
            depthwise = isinstance(node.op, Depthwise) and role == "kernel"
            state[f"{layer}/{'depthwise_kernel' if depthwise else KERAS_ROLES.get(role, role)}"] = array
    return state
