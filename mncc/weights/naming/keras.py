"""The naming of Keras: `layer/kernel`, `layer/gamma`; the layers' order comes with the file."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from mncc.network.ops import Dense, Depthwise, Op
from mncc.network.types import TensorType
from mncc.weights.naming.base import Convention, Module, Signature
from mncc.weights.stored import Archive, Stored

AUTOMATIC = re.compile(r"(conv2d|depthwise_conv2d|separable_conv2d|batch_normalization|dense)(?:_(\d{1,9}))?$")
"""What Keras calls layers that their program gives no name, numbered in the order of their creation."""
ROLES = {
    "kernel": "kernel",
    "depthwise_kernel": "kernel",
    "bias": "bias",
    "gamma": "gamma",
    "beta": "beta",
    "moving_mean": "mean",
    "moving_variance": "variance",
}


class Keras:
    """`Conv1/kernel`, `bn_Conv1/gamma`, `block_1_depthwise/depthwise_kernel`, `predictions/bias`."""

    name = "Keras"
    by_name = False
    channels_first = False

    def recognises(self, archive: Archive) -> bool:
        """Only Keras writes these files."""
        return archive.keras

    def conventions(self, archive: Archive) -> tuple[Convention, ...]:
        """TensorFlow's padding; the epsilon of the file's model, else Keras's default."""
        return (Convention("same", 1e-3 if archive.epsilon is None else archive.epsilon),)

    def orders(self, archive: Archive) -> list[list[Module]]:
        """The file's operators; a separable convolution is two of them."""
        grouped: dict[str, dict[str, Stored]] = {}
        for key, stored in archive.tensors.items():
            prefix, _, last = key.rpartition("/")
            grouped.setdefault(prefix, {})[last] = stored
        modules = []
        for name, tensors in grouped.items():
            queue = archive.queues.get(name, "")
            if "pointwise_kernel" in tensors:
                depthwise = tensors.pop("depthwise_kernel", None)
                if depthwise is not None:
                    modules.append(_module(name, {"depthwise_kernel": depthwise}, queue))
                tensors["kernel"] = tensors.pop("pointwise_kernel")
            modules.append(_module(name, tensors, queue))
        return [_as_created(modules)]

    def key(self, module: str, role: str) -> str:
        """`Conv1` and `kernel` -> `Conv1/kernel`."""
        return f"{module}/{ {'mean': 'moving_mean', 'variance': 'moving_variance'}.get(role, role) }"

    def shape(self, role: str, op: Op, type: TensorType) -> tuple[int, ...]:
        """mncc's layouts are Keras's."""
        return type.shape

    def convert(self, role: str, array: np.ndarray, op: Op, type: TensorType) -> np.ndarray:
        """A reshape: a Dense and a 1x1 Conv2D stand for each other, and so do the two forms of a depthwise kernel."""
        return array.reshape(type.shape)

    def fits(self, role: str, shape: tuple[int, ...], op: Op, type: TensorType) -> bool:
        """Equal shapes, but for the ones of a 1x1 convolution and a depthwise kernel's last axes."""
        if shape == type.shape or role != "kernel":
            return shape == type.shape
        if isinstance(op, Dense):
            return shape == (1, 1, *type.shape)
        kh, kw, c, out = type.shape
        if (kh, kw) == (1, 1) and shape == (c, out):
            return True
        grouped = len(shape) == 4 and c == 1 and shape[2] * shape[3] == out
        return not isinstance(op, Depthwise) and grouped and shape[:2] == (kh, kw)

    def default(self, role: str) -> float | None:
        """Norms with `scale=False` or `center=False` have no gamma or beta."""
        return {"gamma": 1.0, "beta": 0.0}.get(role)


def _as_created(modules: list[Module]) -> list[Module]:
    """Modules in the order of the numbers that Keras gave their layers, each class in a queue of its own, where all but
    dense layers have such names.

    The file's order is that of a layer's distance from the output, which mixes branches beside each other (Inception).
    """
    found = {module.name: AUTOMATIC.match(module.name.rpartition("/")[2]) for module in modules}
    if not all(found[module.name] or _is_dense(module) for module in modules):
        return modules
    numbered = []
    for place, module in enumerate(modules):
        name = found[module.name]
        queue, number = (name[1], int(name[2] or 0)) if name else ("dense", place)
        numbered.append((queue, number, replace(module, queue=queue)))
    return [module for _, _, module in sorted(numbered, key=lambda entry: entry[:2])]


def _is_dense(module: Module) -> bool:
    return module.kind == "layer" and len(module.tensors["kernel"].shape) == 2


def _module(name: str, tensors: dict[str, Stored], queue: str) -> Module:
    roles = {ROLES[last]: stored for last, stored in tensors.items() if last in ROLES}
    unknown = tuple(stored for last, stored in tensors.items() if last not in ROLES)
    if {"gamma", "beta", "mean", "variance"} & set(roles):
        return Module(name, "norm", roles, ("norm", *next(iter(roles.values())).shape), unknown, queue)
    kernel = roles.get("kernel")
    if kernel is None or len(kernel.shape) not in (2, 4):
        return Module(name, "other", {}, (), tuple(tensors.values()), queue)
    kh, kw, c, out = (1, 1, *kernel.shape)[-4:]
    if "depthwise_kernel" in tensors:
        c, out = 1, c * out
    signature: Signature = ("layer", kh, kw, c, out)
    return Module(name, "layer", roles, signature, unknown, queue)
