"""The least that a kernel can take, whatever its tiles: its multiplications at the FMA peak, or its bytes.

The lanes of a vector are channels of one group. Where these fill no vector that uses the multipliers fully, the peak is
out of reach for all tiles: 12 channels a group take as long as 16.
"""

from __future__ import annotations

from math import prod
from typing import Any

from mncc.kernels.chain import Chain, Stage
from mncc.kernels.family import family_of
from mncc.kernels.slots import Prediction
from mncc.kernels.strassen import Strassen
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
    """Slots of instructions that multiply; Winograd's and Strassen's algorithms have fewer than the
    convolution."""
    if isinstance(spec, Winograd | Strassen):
        prediction = family_of(spec).predict(spec, tiles, target)
        assert isinstance(prediction, Prediction)
        return prediction.slots.multiply
    assert isinstance(spec, Chain)
    return sum(spec.stage_macs(index) / _filled(stage, target) for index, stage in enumerate(spec.stages))


def _filled(stage: Stage, target: Target) -> float:
    """The multiply-adds of a slot: a full vector's, as far as the channels of a group fill whole vectors."""
    channels = stage.channels if stage.kind == "depthwise" else stage.channels // stage.groups
    return target.lanes * channels / (-(-channels // target.full) * target.full)


def _transfer(spec: Any, tiles: Any, target: Target) -> float:
    """Slots in which the weights come: from memory, where no cache keeps them from run to run; else no faster than from
    the L2 cache, into which kernels fetch ahead for one another what fits, and the rest from the L3 cache."""
    bytes_ = family_of(spec).weight_floats(spec, tiles) * 4
    whole = bytes_ + prod((spec.height, spec.width, spec.channels)) * 4
    if whole > target.l3:
        return bytes_ / target.memory_bytes
    near = min(bytes_, target.l2)
    return near / target.l2_bytes + (bytes_ - near) / target.l3_most
