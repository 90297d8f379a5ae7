"""Specs and tiles as JSON: what comes back is what went, and what is none is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mncc.kernels.chain import Chain, ChainTiles, Stage
from mncc.kernels.records import from_json, to_json
from mncc.kernels.tiles import ConvTile
from mncc.kernels.winograd import Winograd
from mncc.network.ops import Activation

ONE = ((1, 1), (1, 1))
TILES = ChainTiles(4, 2, "rows", (ConvTile(1, 7, 32, 16), ConvTile(2, 14, 24, 8, 4)))

stages = st.builds(
    Stage,
    st.just("conv"),
    st.integers(1, 99),
    st.integers(1, 99),
    st.integers(1, 99),
    kernel=st.sampled_from([(1, 1), (3, 3)]),
    padding=st.sampled_from([((0, 0), (0, 0)), ONE]),
    activation=st.none() | st.builds(Activation, st.just("leaky"), st.floats(allow_nan=False, allow_infinity=False)),
)
chains = st.builds(
    Chain,
    st.integers(1, 99),
    st.integers(1, 99),
    st.integers(1, 99),
    st.lists(stages, min_size=1, max_size=3).map(tuple),
    residual=st.booleans(),
    dtype=st.sampled_from(["float32", "float16"]),
)


@given(chains)
def test_specs_come_back(chain: Chain) -> None:
    assert from_json(Chain, json.loads(json.dumps(to_json(chain)))) == chain


def test_tiles_and_subclasses_come_back() -> None:
    assert from_json(ChainTiles, json.loads(json.dumps(to_json(TILES)))) == TILES
    spec = Winograd(10, 13, 24, (Stage("conv", 10, 13, 40, (3, 3), padding=ONE),), size=2)
    assert from_json(Winograd, to_json(spec)) == spec


def test_what_is_so_by_default_is_left_out() -> None:
    """So a field that is added later, with a default, makes no file another one."""
    assert to_json(ConvTile(1, 7, 32, 16)) == {"rows": 1, "cols": 7, "channels": 32, "lanes": 16}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"rows": 1, "cols": 7, "channels": 32},
        {"rows": 1, "cols": 7, "channels": 32, "lanes": 16, "depth": 3},
        {"rows": 1, "cols": 7, "channels": 32, "lanes": "16"},
        {"rows": True, "cols": 7, "channels": 32, "lanes": 16},
        {"rows": 1.0, "cols": 7, "channels": 32, "lanes": 16},
    ],
)
def test_what_is_no_tile_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match=r"ConvTile|is no int"):
        from_json(ConvTile, data)


def test_other_words_and_what_a_family_does_not_take_are_refused() -> None:
    tiles = to_json(TILES)
    with pytest.raises(ValueError, match="columns"):
        from_json(ChainTiles, {**tiles, "split": "columns"})
    with pytest.raises(ValueError, match="no list"):
        from_json(ChainTiles, {**tiles, "stages": 3})
    two = Chain(4, 4, 8, (Stage("conv", 4, 4, 8), Stage("conv", 4, 4, 8)))
    with pytest.raises(ValueError, match="Winograd"):
        from_json(Winograd, to_json(two))
