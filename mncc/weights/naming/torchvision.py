"""The naming of torchvision, and of most torch modules: numbered children in the order of their definition."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mncc.weights.naming.base import Convention
from mncc.weights.naming.torch_modules import TorchModules
from mncc.weights.stored import Archive

FIRST = re.compile(r"^(stem|squeeze|backbone|base|primary_conv|conv_reduce)$")
"""Children without a number that run before their siblings (SqueezeNet's squeeze before expand1x1)."""
LAST = re.compile(r"^(fc|classifier|head|heads|downsample|shortcut|conv_last)$")
"""Children that run, or are defined, after their siblings whatever their names' order."""
NUMBERED = re.compile(r"^([A-Za-z_]*?)_?(\d+)(?:x\d+)?$")
LATE = ("dbl", "pool")
"""What Inception's branches have in their names that are defined behind the others."""
WORDS = ("conv", "bn", "norm", "layer", "stage", "branch")
"""Words of equal number, or without one, run in this order: conv1, bn1, then layer1."""
PREACTIVATION = re.compile(r"^(denselayer|transition)\d*$")
"""Parents that normalise before they convolve (DenseNet)."""
TENSORFLOWS_EPSILON = re.compile(r"^(?:features|backbone)\.\d+\.block\.|^(?:Mixed_\d|Conv2d_\d|inception\d)")
"""Modules of the families that torchvision trains with TensorFlow's epsilon: V3's inverted residuals, which alone are
a `block` directly below their number, and the inceptions."""


class Torchvision(TorchModules):
    """`features.0.0.weight`, `layer1.0.conv1.weight`, `stage2.0.branch1.0.weight`, `classifier.1.weight`."""

    name = "torchvision"

    def recognises(self, archive: Archive) -> bool:
        """Any torch names: their last part is weight, and no naming with words of its own has claimed them."""
        return not archive.keras and any(key.endswith(".weight") for key in archive.tensors)

    def conventions(self, archive: Archive) -> tuple[Convention, ...]:
        """Torch's padding, and its epsilon but for the families that have TensorFlow's."""
        other = any(TENSORFLOWS_EPSILON.match(name) for name in archive.tensors)
        return (Convention("symmetric", 1e-3 if other else 1e-5),)

    def order(self, name: str, names: frozenset[str]) -> Any:
        """Part by part: by number, words of equal number by their rank."""
        return order_of(name.split("."))


def order_of(parts: Sequence[str]) -> list[tuple[int, int, int, str]]:
    """What a name sorts by, part by part."""
    return [_rank(part, parent) for parent, part in zip(("", *parts), parts, strict=False)]


def _rank(part: str, parent: str) -> tuple[int, int, int, str]:
    if FIRST.match(part):
        return 0, 0, 0, part
    if LAST.match(part):
        return 2, 0, 0, part
    found = NUMBERED.match(part)
    word, number = (found[1], int(found[2][:9])) if found else (part, 10**9)
    if word == "norm" and PREACTIVATION.match(parent):
        return 1, number, -1, word
    late = sum(i for i, end in enumerate(LATE, 1) if word.startswith("branch") and end in word)
    return 1, number, WORDS.index(word) if word in WORDS else len(WORDS) + late, word
