"""The naming of timm's MobileNet and EfficientNet family (timm/models/_efficientnet_blocks.py)."""

from __future__ import annotations

import re
from typing import Any

from mncc.weights.naming.base import Convention
from mncc.weights.naming.torch_modules import TorchModules
from mncc.weights.naming.torchvision import order_of
from mncc.weights.stored import Archive

TOP = ("conv_stem", "bn1", "blocks", "conv_head", "bn2", "norm_head", "classifier")
BLOCK = re.compile(r"^(blocks\.\d+\.\d+)\.")
INVERTED = ("conv_pw", "bn1", "conv_dw", "bn2", "se", "conv_pwl", "bn3")
"""Inverted residual: expand, depthwise, squeeze and excite, project."""
EDGE = ("conv_exp", "bn1", "se", "conv_pwl", "bn2")
"""Fused inverted residual (EdgeResidual)."""
PLAIN = ("conv", "bn1")
"""A convolution alone (ConvBnAct)."""
GHOST = ("ghost1", "conv_dw", "bn_dw", "se", "ghost2", "shortcut")
"""GhostNet's bottleneck."""
SEPARABLE = ("conv_dw", "bn1", "se", "conv_pw", "bn2")
"""Depthwise separable convolution."""


class Timm(TorchModules):
    """`conv_stem`, `bn1`, `blocks.i.j.*`, `conv_head`, `bn2`, `classifier`."""

    name = "timm"

    def recognises(self, archive: Archive) -> bool:
        """The stem has timm's name, or blocks have stage and index."""
        return any(key.startswith("conv_stem.") or BLOCK.match(key) for key in archive.tensors)

    def conventions(self, archive: Archive) -> tuple[Convention, ...]:
        """Torch's; or TensorFlow's where the file may be of a family that timm has from there as well: those with 5x5
        kernels, squeeze and excitation, or a bias in the head (MobileNetV3's minimal ones have nothing else). Its
        MobileNetV1 and V2, which have none of these, were all trained with torch."""
        usual = Convention("symmetric", 1e-5)
        large = any(stored.shape[2:] == (5, 5) for stored in archive.tensors.values())
        if not (large or any(".se." in key or key == "conv_head.bias" for key in archive.tensors)):
            return (usual,)
        return usual, Convention("same", 1e-3, "a tf_ variant, ported from TensorFlow (its names do not tell)")

    def order(self, name: str, names: frozenset[str]) -> Any:
        """By the network's parts, then stage and index, then the block's own order, then as torchvision."""
        parts = name.split(".")
        head = TOP.index(parts[0]) if parts[0] in TOP else len(TOP)
        if not (block := BLOCK.match(name)):
            return head, 0, 0, 0, order_of(parts)
        inside = _block_order(block[1], names)
        place = inside.index(parts[3]) if parts[3] in inside else len(inside)
        return head, int(parts[1][:9]), int(parts[2][:9]), place, order_of(parts[4:])


def _block_order(block: str, names: frozenset[str]) -> tuple[str, ...]:
    """Blocks share words and not their order: the words that are there tell which block it is."""
    for word, order in (("conv_exp", EDGE), ("conv_pwl", INVERTED), ("ghost1", GHOST), ("conv", PLAIN)):
        if f"{block}.{word}" in names:
            return order
    return SEPARABLE
