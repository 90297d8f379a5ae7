"""The words of a pipeline's stages: their arguments, and the operator that each makes.

A stage is written `word positional ... / stride keyword value ... flag ...`; what a word takes is data here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from mncc.network import ops
from mncc.network.types import TensorType
from mncc.network.window import PaddingMode, Pads, Pair, resolve_padding

SlotKind = Literal["int", "float", "size", "shape", "padding", "word"]
REQUIRED = object()


@dataclass(frozen=True)
class Defaults:
    """What the header's `defaults` line says, for stages that do not say it themselves."""

    padding: str = "symmetric"
    epsilon: float = 1e-5
    activation: str = "relu"


@dataclass(frozen=True)
class Slot:
    """An argument of a primitive. `words` are those that it takes without being variables."""

    name: str
    kind: SlotKind
    default: Any = REQUIRED
    words: tuple[str, ...] = ()


Arguments = Mapping[str, Any]
Make = Callable[[TensorType, Arguments, Defaults], ops.Op]


@dataclass(frozen=True)
class Primitive:
    """A stage word: what it takes and the operator it makes of a value of some type."""

    make: Make
    positional: tuple[Slot, ...] = ()
    keywords: tuple[Slot, ...] = ()
    flags: tuple[str, ...] = ()
    stride: bool = False
    summary: str = ""
    slots: Mapping[str, Slot] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        slots = {slot.name: slot for slot in (*self.positional, *self.keywords)}
        if self.stride:
            slots["stride"] = STRIDE
        object.__setattr__(self, "slots", slots)

    def form(self, word: str) -> str:
        """How the stage is written: `conv KERNEL CHANNELS [/ STRIDE] [pad PAD] [bias]`."""
        parts = [word]
        parts += [s.name.upper() if s.default is REQUIRED else f"[{s.name.upper()}]" for s in self.positional]
        parts += ["[/ STRIDE]"] * self.stride
        parts += [f"[{s.name} {s.name.upper()}]" for s in self.keywords]
        return " ".join([*parts, *(f"[{flag}]" for flag in self.flags)])


MODES = ("same", "symmetric", "valid")
ACTIVATIONS = {
    "relu": "relu", "relu6": "relu6", "re": "relu", "hard_swish": "hard_swish", "hswish": "hard_swish",
    "h-swish": "hard_swish", "hs": "hard_swish", "hard_sigmoid": "hard_sigmoid", "hsigmoid": "hard_sigmoid",
    "h-sigmoid": "hard_sigmoid", "sigmoid": "sigmoid", "swish": "swish", "silu": "swish", "leaky": "leaky",
    "none": "none",
}  # fmt: skip
"""The activations as header, blocks and papers' columns (`RE`, `HS`) write them, in lower case."""

STRIDE = Slot("stride", "size", (1, 1))
KERNEL = Slot("kernel", "size")
PAD = Slot("pad", "padding", None, MODES)
DILATION = Slot("dilation", "size", (1, 1))


def pads(a: Arguments, x: TensorType, default: str) -> Pads:
    """Explicit padding of a window on `x`: what the stage says, else the default mode."""
    pad = a["pad"] if a["pad"] is not None else default
    if not isinstance(pad, str):
        return cast(Pads, pad)
    dilation = a.get("dilation", (1, 1))
    mode = cast(PaddingMode, pad)
    height, width = (
        resolve_padding(mode, x.shape[axis + 1], a["kernel"][axis], a["stride"][axis], dilation[axis])
        for axis in (0, 1)
    )
    return height, width


def check_window(word: str, a: Arguments, x: TensorType) -> None:
    """Refuses inputs that are no pictures, sizes below 1 and strides that step over the whole input."""
    if x.rank != 4:
        raise ops.ShapeError(f"{word} needs an input of height x width x channels, but gets {x}")
    stride: Pair = a["stride"]
    for values, what in ((a["kernel"], "kernel"), (stride, "stride"), (a.get("dilation", (1, 1)), "dilation")):
        if min(values) < 1:
            raise ops.ShapeError(f"{word} needs a {what} of at least 1, but gets {values[0]}x{values[1]}")
    if stride[0] > x.shape[1] or stride[1] > x.shape[2]:
        size = f"{x.shape[1]}x{x.shape[2]}"
        text = str(stride[0]) if stride[0] == stride[1] else f"{stride[0]}x{stride[1]}"
        raise ops.ShapeError(f"the stride {text} of {word} is larger than its input of {size}")


def _conv(x: TensorType, a: Arguments, d: Defaults) -> ops.Op:
    check_window("conv", a, x)
    padding = pads(a, x, d.padding)
    return ops.Conv2d(a["channels"], a["kernel"], a["stride"], padding, a["dilation"], a["groups"], a["bias"])


def _depthwise(x: TensorType, a: Arguments, d: Defaults) -> ops.Op:
    check_window("depthwise", a, x)
    return ops.Depthwise(a["kernel"], a["stride"], pads(a, x, d.padding), a["dilation"], a["multiplier"], a["bias"])


def _maxpool(x: TensorType, a: Arguments, d: Defaults) -> ops.Op:
    check_window("maxpool", a, x)
    return ops.MaxPool(a["kernel"], a["stride"], pads(a, x, "valid"), a["ceil"])


def _avgpool(x: TensorType, a: Arguments, d: Defaults) -> ops.Op:
    check_window("avgpool", a, x)
    return ops.AvgPool(a["kernel"], a["stride"], pads(a, x, "valid"), a["ceil"], not a["exclude_pad"])


def _activation(kind: str) -> Make:
    return lambda x, a, d: ops.Activation(kind, **a)


def activation_word(a: Arguments, d: Defaults) -> str:
    """What `act` is to be: a word, or a number that stands in its place in a row."""
    return d.activation if a["kind"] is None else str(a["kind"])


def _act(x: TensorType, a: Arguments, d: Defaults) -> ops.Op:
    word = activation_word(a, d)
    kind = ACTIVATIONS.get(word.lower())
    if kind is None:
        raise ops.ShapeError(f"there is no activation `{word}`", f"the activations are {', '.join(activation_names())}")
    return ops.Activation(kind)


def activation_names() -> tuple[str, ...]:
    """The activations by their own names."""
    return tuple(dict.fromkeys(kind for kind in ACTIVATIONS.values() if kind != "none"))


def _norm(x: TensorType, a: Arguments, d: Defaults) -> ops.Op:
    return ops.Norm(d.epsilon if a["epsilon"] is None else a["epsilon"])


def _dense(x: TensorType, a: Arguments, d: Defaults) -> ops.Op:
    return ops.Dense(a["units"], not a["nobias"])


def _upsample(x: TensorType, a: Arguments, d: Defaults) -> ops.Op:
    return ops.Upsample(a["size"], a["mode"], a["align_corners"])


def _mean(x: TensorType, a: Arguments, d: Defaults) -> ops.Op:
    axis = {"height": 1, "width": 2, "channels": x.rank - 1}.get(a["axis"], a["axis"])
    if not isinstance(axis, int):
        raise ops.ShapeError(f"mean knows no axis `{axis}`", "the axes are height, width and channels")
    return ops.Mean(axis)


def _flatten(x: TensorType, a: Arguments, d: Defaults) -> ops.Op:
    return ops.Reshape((x.elements // x.shape[0],))


def _slice(x: TensorType, a: Arguments, d: Defaults) -> ops.Op:
    return ops.Slice(x.rank - 1, a["start"], a["stop"])


PRIMITIVES: Mapping[str, Primitive] = {
    "conv": Primitive(
        _conv, (KERNEL, Slot("channels", "int")), (PAD, Slot("groups", "int", 1), DILATION), ("bias",), True,
        "convolution; GROUPS divides C and CHANNELS; without bias unless it says so",
    ),
    "depthwise": Primitive(
        _depthwise, (KERNEL,), (PAD, Slot("multiplier", "int", 1), DILATION), ("bias",), True,
        "a filter of its own for every channel, or MULTIPLIER of them; without bias unless it says so",
    ),
    "norm": Primitive(
        _norm, (), (Slot("epsilon", "float", None),),
        summary="batch normalisation: gamma * (x - mean) / sqrt(variance + EPSILON) + beta",
    ),
    "act": Primitive(
        _act, (Slot("kind", "word", None, tuple(ACTIVATIONS)),), summary="the default activation, or the named one"
    ),
    **{kind: Primitive(_activation(kind), summary=formula) for kind, formula in (
        ("relu", "max(x, 0)"), ("relu6", "min(max(x, 0), 6)"), ("hard_swish", "x * relu6(x + 3) / 6"),
        ("hard_sigmoid", "relu6(x + 3) / 6"), ("sigmoid", "1 / (1 + e^-x)"), ("swish", "x * sigmoid(x)"),
    )},
    "leaky": Primitive(
        _activation("leaky"), (Slot("slope", "float", 0.01),), summary="x where x > 0, else SLOPE * x (0.01)"
    ),
    "maxpool": Primitive(
        _maxpool, (KERNEL,), (PAD,), ("ceil",), True, "the largest element under a window; no padding unless it says so"
    ),
    "avgpool": Primitive(
        _avgpool, (KERNEL,), (PAD,), ("ceil", "exclude_pad"), True,
        "the average under a window; no padding unless it says so, and padding counts as zeros unless excluded",
    ),
    "globalpool": Primitive(
        lambda x, a, d: ops.GlobalPool(a["kind"]), (Slot("kind", "word", "avg", ("avg", "max")),),
        summary="the average (`avg`) or the largest element (`max`) of every channel",
    ),
    "mean": Primitive(
        _mean, (Slot("axis", "word", REQUIRED, ("height", "width", "channels")),),
        summary="the mean along `height`, `width` or `channels`",
    ),
    "dense": Primitive(
        _dense, (Slot("units", "int"),), (), ("bias", "nobias"),
        summary="fully connected, of a vector; with bias unless it says `nobias`",
    ),
    "softmax": Primitive(lambda x, a, d: ops.Softmax(), summary="probabilities along the channels"),
    "shuffle": Primitive(
        lambda x, a, d: ops.ChannelShuffle(a["groups"]), (Slot("groups", "int"),),
        summary="channel g * C / GROUPS + j becomes j * GROUPS + g",
    ),
    "reshape": Primitive(
        lambda x, a, d: ops.Reshape(a["shape"]), (Slot("shape", "shape"),),
        summary="another shape of the same elements, without the batch",
    ),
    "flatten": Primitive(_flatten, summary="a vector of all elements"),
    "slice": Primitive(
        _slice, (Slot("start", "int"), Slot("stop", "int")),
        summary="channels START up to STOP (exclusive), counted from 0",
    ),
    "upsample": Primitive(
        _upsample, (Slot("size", "size"), Slot("mode", "word", "nearest", ("nearest", "bilinear"))), (),
        ("align_corners",), summary="another height and width, `nearest` or `bilinear`",
    ),
}  # fmt: skip
"""Stage word -> primitive. A new operator of the network gets its word here."""
