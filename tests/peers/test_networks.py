"""Whole networks in every engine that is installed, against the twin."""

from __future__ import annotations

from pathlib import Path

import pytest

from mncc.elaborate import elaborate, load
from mncc.language import Source, parse
from mncc.network.graph import Network
from mncc.network.ops import Slice
from mncc.peers.fold import split_parts
from mncc.weights import load_weights
from tests.peers.engine import PEERS, difference

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
