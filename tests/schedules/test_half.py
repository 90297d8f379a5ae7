"""Chains that compute in float16: near float64, with the same bits however items are shared out."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mncc.kernels.chain import Chain, ChainTiles
from mncc.kernels.chain_cost import choose_tiles
from mncc.kernels.family import family_of
from mncc.kernels.half import MOST_STEPS, in_half, part_of
from mncc.kernels.target import load_target
from tests.networks.specials import with_specials
from tests.schedules.emulated import need_emulator
from tests.schedules.harness import ChainRun
from tests.schedules.test_chain import CHAINS, small_blocks

ERROR = 1e-2
"""Of the largest element: a few times what up to five roundings to float16, and sums in it, come to."""
A76 = load_target("arm64-cortex-a76")
QUICK = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def in_float16(chain: Chain, **ends: str) -> Chain:
    types = {"input_dtype": "float16", "residual_dtype": "float16", "output_dtype": "float16", **ends}
    return replace(chain, weights_dtype="float16", dtype="float16", **types)


def expect_near(run: ChainRun, parts: int = 3) -> None:
    """Near float64; the same bits for any order of shares; NaN and infinity where they have to be."""
    shares = family_of(run.chain).phases(run.chain, run.tiles)
    count = sum(phase.items for phase in shares)
    whole, expected = run.run([(0, count)]), run.expected()
    assert whole.dtype == run.chain.output_dtype
    assert np.abs(whole - expected).max() <= ERROR * np.abs(expected).max()
    backward, done = [], 0
    for phase in shares:
        cuts = sorted({done, done + phase.items, *(done + phase.items * i // parts for i in range(parts))})
        backward, done = backward + list(itertools.pairwise(cuts))[::-1], done + phase.items
    assert np.array_equal(run.run(backward), whole)
    run.input = with_specials(run.input, seed=run.seed, share=0)
    whole, expected = run.run([(0, count)]), run.expected()
    for special in (np.isnan, np.isposinf, np.isneginf):
        assert np.array_equal(special(whole), special(expected))


@pytest.mark.parametrize("name", CHAINS)
def test_chain(name: str, tmp_path: Path) -> None:
    """On this machine, which converts for every step, with the tiles of one that need not."""
    chain = in_float16(CHAINS[name])
    expect_near(ChainRun(chain, choose_tiles(chain, in_half(A76)), tmp_path, target="x86-64-v3"))


@pytest.mark.parametrize("name", CHAINS)
def test_chain_on_a_cpu_with_float16(name: str, tmp_path: Path) -> None:
    need_emulator(A76)
    chain = in_float16(CHAINS[name])
    expect_near(ChainRun(chain, choose_tiles(chain, in_half(A76)), tmp_path, target=A76.name))


@pytest.mark.parametrize("end", ["input_dtype", "output_dtype", "residual_dtype"])
def test_the_caller_s_tensors_are_float32(end: str, tmp_path: Path) -> None:
    for name in ("inverted residual", "stem", "classifier"):
        chain = in_float16(CHAINS[name], **{end: "float32"})
        folder = tmp_path / name
        folder.mkdir()
        expect_near(ChainRun(chain, choose_tiles(chain, in_half(A76)), folder, target="x86-64-v3"))


@QUICK
@given(small_blocks(), st.integers(0, 2**16), st.integers(1, 5))
def test_any_two_phases(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[Chain, ChainTiles], seed: int, parts: int
) -> None:
    run = ChainRun(in_float16(case[0]), case[1], tmp_path_factory.mktemp("phases"), seed, "x86-64-v3")
    expect_near(run, parts)


@given(st.integers(1, 3000), st.sampled_from([1, 4, 8]))
def test_parts_divide_their_reduction(length: int, steps: int) -> None:
    size = part_of(length * steps, steps)
    assert size <= MOST_STEPS and (length * steps) % size == 0 and size % steps == 0
    assert part_of(960, 8) == 64 and part_of(144, 8) == 48 and part_of(7, 1) == 7
