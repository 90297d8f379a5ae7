"""What measurements teach about the cost model: boosted trees (xgboost) that learn by how much it is wrong.

The families' cost models are within 5 to 25 % before anything was measured; what is learned is the rest, the logarithm
of measured by predicted cost, both as shares of the default's. One model serves all kernels of a run: that tiles of two
rows are better than predicted shows in one kernel and helps in the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mncc.kernels.family import family_of
from mncc.kernels.slots import Prediction
from mncc.kernels.target import Target
from mncc.language.diagnostic import OutsideError

if TYPE_CHECKING:
    import xgboost

FEWEST = 16
"""Measurements from which something is learned; before, the cost model alone is believed."""
ROUNDS = 60
STAGES = 4
"""Stages that have features; none has as many so far."""
OF_TILES, OF_STAGE = 8, 9
SETTINGS = {"max_depth": 4, "eta": 0.15, "subsample": 0.8, "lambda": 2.0, "nthread": 1, "seed": 7, "verbosity": 0}


def features(spec: Any, target: Target, tiles: Any) -> tuple[float, np.ndarray]:
    """The predicted slots of a kernel with its tiles, and what the trees see of it: a flat array, NaN where it has
    fewer stages or numbers than others."""
    prediction = family_of(spec).predict(spec, tiles, target)
    assert isinstance(prediction, Prediction)
    total = prediction.slots.total
    row = [total / max(prediction.ideal, 1.0), prediction.moved.total / total]
    stages = [_of_stage(spec, index, slots, total) for index, slots in enumerate(prediction.stages[:STAGES])]
    row += _padded([each for stage in stages for each in stage], STAGES * OF_STAGE)
    row += _padded(list(_numbers(tiles)), STAGES * OF_TILES)
    return total, np.array(row)


def _of_stage(spec: Any, index: int, slots: Any, total: float) -> list[float]:
    """What a stage is, and what its time is lost on."""
    stage = spec.stages[index]
    lost = (slots.multiply / total, slots.tiles / total, slots.l2 / total)
    shape = (math.log(stage.channels), stage.width, stage.height, stage.stride[0], stage.groups)
    return [float(stage.kind == "depthwise"), *shape, *lost]


def _numbers(value: Any) -> list[float]:
    """All numbers of nested tiles, in their order; words count by their length, which tells those there are apart."""
    if is_dataclass(value):
        return [number for field in fields(value) for number in _numbers(getattr(value, field.name))]
    if isinstance(value, tuple):
        return [number for each in value for number in _numbers(each)]
    return [float(len(value) if isinstance(value, str) else value)]


def _padded(row: Sequence[float], length: int) -> list[float]:
    return [*row[:length], *[math.nan] * (length - len(row))]


class Learned:
    """The correction of the cost model, learned from all that `add` was told."""

    def __init__(self) -> None:
        self._xgboost = load_xgboost()
        self._rows: list[np.ndarray] = []
        self._wrong: list[float] = []
        self._booster: xgboost.Booster | None = None
        self._fitted = 0

    def add(self, row: np.ndarray, measured: float, predicted: float) -> None:
        """A candidate's features, and its cost by the default's: measured, and predicted."""
        self._rows.append(row)
        self._wrong.append(math.log(measured / predicted))

    def corrections(self, rows: Sequence[np.ndarray]) -> np.ndarray:
        """What predicted costs are to be multiplied by; 1 until enough is known."""
        self._fit()
        if self._booster is None or not len(rows):
            return np.ones(len(rows))
        return np.exp(self._booster.inplace_predict(np.stack(rows)))

    def _fit(self) -> None:
        """Learns anew where an eighth has been added."""
        if len(self._rows) < max(FEWEST, self._fitted * 9 // 8 + 1):
            return
        data = self._xgboost.DMatrix(np.stack(self._rows), label=np.array(self._wrong))
        self._booster = self._xgboost.train(SETTINGS, data, num_boost_round=ROUNDS)
        self._fitted = len(self._rows)


def load_xgboost() -> Any:
    """Raises OutsideError where it is not installed."""
    try:
        import xgboost
    except ImportError as error:
        raise OutsideError(f"tuning needs xgboost: {error}", 'pip install "mncc[tune]"') from error
    return xgboost
