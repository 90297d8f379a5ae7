"""The least that a kernel can take, whatever its tiles: its multiplications at the FMA peak, or its bytes."""

from __future__ import annotations

from math import prod
from typing import Any

from mncc.kernels.family import family_of
from mncc.kernels.slots import Prediction
from mncc.kernels.target import Target
from mncc.kernels.winograd import Winograd
from mncc.tuning.task import Task, Unit


def roofline(task: Task, unit: Unit, peak: float | None) -> float | None:
    """In `unit`; `peak` is that of one core in GFLOP/s, and None where it is not known, and no seconds are then."""
    target = task.target
    multiplications = _multiplications(task.spec, task.default, target)
    if unit == "instructions":
        return multiplications
    if peak is None:
        return None
    return max(multiplications, _transfer(task.spec, task.default, target)) * 2e-9 * target.lanes / peak


def _multiplications(spec: Any, tiles: Any, target: Target) -> float:
    """Instructions that multiply full vectors, and so slots; Winograd's algorithm has fewer than the convolution."""
    prediction = family_of(spec).predict(spec, tiles, target)
    assert isinstance(prediction, Prediction)
    return prediction.slots.multiply if isinstance(spec, Winograd) else prediction.ideal


def _transfer(spec: Any, tiles: Any, target: Target) -> float:
    """Slots in which the weights come: from memory, where no cache keeps them from run to run, else no faster than from
    the L2 cache, into which kernels fetch them ahead for one another."""
    bytes_ = family_of(spec).weight_floats(spec, tiles) * 4
    whole = bytes_ + prod((spec.height, spec.width, spec.channels)) * 4
    return bytes_ / (target.l2_bytes if whole <= target.l3 else target.memory_bytes)
