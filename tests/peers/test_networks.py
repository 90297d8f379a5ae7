"""Whole networks in every engine that is installed, against the twin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mncc.elaborate import elaborate, load
from mncc.language import Source, parse
from mncc.network.graph import Input, Network, Node, Output
from mncc.network.ops import Slice
from mncc.peers.fold import split_parts
from mncc.weights import Weights, load_weights
from tests.peers.engine import PEERS, difference
from tests.peers.test_onnx_export import CASES, single

ROOT = Path(__file__).resolve().parents[2]
PRIMITIVES = ROOT / "tests" / "networks" / "primitives.mn"

SPLITS = """
network splits
input image: 6x6x12
block turned:
  a, b, c = split(x, 3)
  return concat(c, a, b -> conv 1x1 4 bias -> relu)
block again:
  return concat(x -> slice 5 12, x -> maxpool 3x3 / 1 pad 1 -> slice 0 3, x -> slice 0 5)
output first = image -> turned -> shuffle 3 -> again
output rest = image -> relu -> slice 0 7 -> swish
"""

NEGATIVE = """
network negative
input image: 9x10x3
block low:
  return (x -> conv 1x1 3 bias -> relu6) * x -> relu
output bare = image -> maxpool 3x3 / 2 pad 1
output clipped = image -> relu -> maxpool 3x3 / 2 pad 1
output product = image -> low -> maxpool 2x2 / 2 ceil
output mixed = concat(image, image -> relu) -> maxpool 3x3 / 2 pad 1 -> avgpool 2x2 / 2 ceil
"""


def small(text: str) -> Network:
    return elaborate(parse(Source("small.mn", text)), {})


def side_by_side() -> tuple[Network, Weights]:
    """Every case of one operator in one network, each with inputs and an output of its own."""
    inputs: list[Input] = []
    nodes: list[Node] = []
    tensors: dict[tuple[str, str], np.ndarray] = {}
    for number, (op, shapes) in enumerate(CASES.values()):
        network, weights = single(op, shapes)
        (node,) = network.nodes
        names = [f"x{number}.{given.name}" for given in network.inputs]
        inputs += [replace(given, name=name) for given, name in zip(network.inputs, names, strict=True)]
        nodes.append(replace(node, name=f"y{number}", inputs=tuple(names)))
        tensors |= {(f"y{number}", role): array for (_, role), array in weights.items()}
    outputs = tuple(Output(name, node.name) for name, node in zip(CASES, nodes, strict=True))
    return Network("operators", tuple(inputs), tuple(nodes), outputs), Weights(tensors, "")


@pytest.mark.parametrize("engine", PEERS)
def test_every_operator(engine: str, tmp_path: Path) -> None:
    network, weights = side_by_side()
    assert difference(engine, network, weights, tmp_path, spread=4) < 1e-5


@pytest.mark.parametrize("engine", PEERS)
@pytest.mark.parametrize("batch", [1, 2])
def test_every_primitive(engine: str, batch: int, tmp_path: Path) -> None:
    network = load(PRIMITIVES, {"batch": str(batch)})
    assert difference(engine, network, load_weights(network, "random:1"), tmp_path) < 1e-5


@pytest.mark.parametrize("engine", PEERS)
@pytest.mark.parametrize("text", [SPLITS, NEGATIVE])
def test_splits_and_signs(engine: str, text: str, tmp_path: Path) -> None:
    network = small(text)
    assert difference(engine, network, load_weights(network, "random:1"), tmp_path) < 1e-5


def test_which_slices_are_a_split() -> None:
    network = small(SPLITS)
    parts = split_parts(network)
    found = {tuple(part.op.stop for part in each if isinstance(part.op, Slice)) for each in parts.values()}
    assert found == {(4, 8, 12), (5, 12)}
    assert len(parts) == 5
