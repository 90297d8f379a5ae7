"""The naming of timm's MobileNet and EfficientNet family (timm/models/_efficientnet_blocks.py)."""

from __future__ import annotations

import re
from typing import Any

from mncc.weights.naming.base import Convention
from mncc.weights.naming.torch_modules import TorchModules
from mncc.weights.stored import Archive

TOP = ("conv_stem", "bn1", "blocks", "conv_head", "bn2", "norm_head", "classifier")
BLOCK = re.compile(r"^(blocks\.\d+\.\d+)\.")
INVERTED = ("conv_pw", "bn1", "conv_dw", "bn2", "se", "conv_pwl", "bn3")
"""Inverted residual: expand, depthwise, squeeze and excite, project."""
EDGE = ("conv_exp", "bn1", "se", "conv_pwl", "bn2")
"""Fused inverted residual (EdgeResidual)."""
SEPARABLE = ("conv_dw", "bn1", "se", "conv_pw", "bn2", "conv", "bn3")
"""Depthwise separable convolution, and the plain ConvBnAct of the last stage."""
EXCITE = ("conv_reduce", "conv_expand")


class Timm(TorchModules):
    """`conv_stem`, `bn1`, `blocks.i.j.*`, `conv_head`, `bn2`, `classifier`."""

    name = "timm"
    conventions: tuple[Convention, ...] = (
        Convention("symmetric", 1e-5),
        Convention("same", 1e-3, "a tf_ variant, ported from TensorFlow (its names do not tell)"),
    )

    def recognises(self, archive: Archive) -> bool:
        """The stem has timm's name, or blocks have stage and index."""
        return any(key.startswith("conv_stem.") or BLOCK.match(key) for key in archive.tensors)

    def order(self, name: str, names: frozenset[str]) -> Any:
        """By the network's parts, then stage and index, then the block's own order."""
        parts = name.split(".")
        head = TOP.index(parts[0]) if parts[0] in TOP else len(TOP)
        if not (block := BLOCK.match(name)):
            return head, 0, 0, 0, 0, name
        inside = _block_order(block[1], names)
        place = inside.index(parts[3]) if parts[3] in inside else len(inside)
        excite = EXCITE.index(parts[4]) if len(parts) > 4 and parts[4] in EXCITE else 0
        return head, int(parts[1][:9]), int(parts[2][:9]), place, excite, name


def _block_order(block: str, names: frozenset[str]) -> tuple[str, ...]:
    """Blocks share words and not their order: the words that are there tell which block it is."""
    if f"{block}.conv_exp" in names:
        return EDGE
    return INVERTED if f"{block}.conv_pwl" in names else SEPARABLE
