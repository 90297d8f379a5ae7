"""Every example at a small size: compiled, run, and compared with its twin in float64."""

from __future__ import annotations

from pathlib import Path

import pytest

from mncc.elaborate import load
from mncc.weights.random_weights import random_weights
from tests.examples.facts import SMALL, Run
from tests.networks.compare import expect_right


@pytest.mark.parametrize("run", SMALL, ids=str)
def test_small_size(run: Run, tmp_path: Path) -> None:
    network = load(run.path, run.texts)
    expect_right(network, random_weights(network, 1), tmp_path / "out")
