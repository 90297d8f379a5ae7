"""A file that uses every primitive of the language once, compiled and compared with its twin."""

from __future__ import annotations

from pathlib import Path

import pytest

from mncc.elaborate import load
from mncc.network import ops
from mncc.network.ops.activation import KINDS
from mncc.weights.random_weights import random_weights
from tests.networks.compare import expect_right

SOURCE = Path(__file__).with_name("primitives.mn")


def test_every_operator_is_in_it() -> None:
    nodes = load(SOURCE, {}).nodes
    used = {type(node.op).__name__ for node in nodes}
    assert used == set(ops.__all__) - {"Op", "ShapeError"}
    assert {node.op.kind for node in nodes if isinstance(node.op, ops.Activation)} == set(KINDS)


@pytest.mark.parametrize("settings", [{}, {"batch": "2", "width": "0.5", "padding": "same"}])
def test_primitives(settings: dict[str, str], tmp_path: Path) -> None:
    network = load(SOURCE, settings)
    library = expect_right(network, random_weights(network, 3), tmp_path / "out")
    assert [tensor.name for tensor in library.inputs] == ["image", "shade", "code"]
    assert [tensor.name for tensor in library.outputs] == ["scores", "squeezed", "resized", "shaded", "coded"]
