"""Windows as other engines count them, against arithmetic done by hand and exact fractions."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mncc.network.ops import AvgPool, MaxPool, Upsample
from mncc.network.types import TensorType
from mncc.peers import PeerError
from mncc.peers.litert_export import _EXPORT as LITERT
from mncc.peers.ncnn_export import _EXPORT as NCNN
from mncc.peers.ncnn_export import export_ncnn
from mncc.peers.onnx_export import _EXPORT as ONNX
from mncc.peers.windows import counted_taps, covering_pads, nearest_is_exact
from mncc.weights import Weights
from tests.peers.engine import PEERS, difference
from tests.peers.test_onnx_export import single

COARSE = Upsample((82, 2))
"""From 2 pixels: the scale 2 / 82 rounds so that a pixel is missed."""


def pair(op: MaxPool | AvgPool, h: int, w: int) -> tuple[TensorType, TensorType]:
    given = TensorType((1, h, w, 1))
    return given, op.infer(given)


def test_ceil_mode_is_padding() -> None:
    ceil = MaxPool((3, 3), (2, 2), ceil=True)
    assert covering_pads(ceil, *pair(ceil, 8, 7)) == ((0, 1), (0, 0))
    floor = MaxPool((2, 2), (4, 4))
    assert covering_pads(floor, *pair(floor, 7, 6)) == ((0, 0), (0, 0)), "pixels left are no negative padding"


def test_taps() -> None:
    op = AvgPool((3, 3), (2, 2), ((1, 1), (1, 1)), ceil=True)
    # Of 6 rows windows begin at -1, 1, 3 and 5; the last one has its third row beyond the padding.
    rows_with, rows_without = np.array([3, 3, 3, 2]), np.array([2, 3, 3, 1])
    types = pair(op, 6, 6)
    assert np.array_equal(counted_taps(op, *types, include_pad=True), np.outer(rows_with, rows_with))
    assert np.array_equal(counted_taps(op, *types, include_pad=False), np.outer(rows_without, rows_without))


def test_nearest_pixels_that_rounding_moves() -> None:
    assert nearest_is_exact(7, 14) and nearest_is_exact(7, 10) and not nearest_is_exact(2, 82)
    scale = Fraction(float(np.float32(2 / 82)))
    assert any(i * scale < Fraction(2 * i, 82) and 2 * i % 82 == 0 for i in range(1, 82)), "the reason"


@pytest.mark.parametrize("engine", [engine for engine in PEERS if engine != "ncnn"])
def test_they_are_gathered(engine: str, tmp_path: Path) -> None:
    network, tensors = single(COARSE, [(1, 2, 2, 3)])
    assert difference(engine, network, Weights(tensors, ""), tmp_path) == 0


def test_ncnn_refuses_them(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="upsample from 2x2 to 82x2, whose scale rounds, cannot be handed to ncnn yet"):
        export_ncnn(*single(COARSE, [(1, 2, 2, 3)]), tmp_path / "model.ncnn")


def test_every_format_has_every_operator() -> None:
    assert set(LITERT) == set(NCNN) == set(ONNX)
