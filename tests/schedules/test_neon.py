"""Kernels for arm64 and armv7, run under qemu with just the instructions of their processors."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from mncc.kernels.chain import Chain, ChainTiles, Stage, scratch_layout
from mncc.kernels.chain_cost import choose_tiles
from mncc.kernels.target import load_target
from mncc.kernels.tiles import Block, ConvTile
from tests.schedules.emulated import need_emulator
from tests.schedules.harness import ChainRun
from tests.schedules.test_chain import CHAINS, expect_exact, window


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize(
    "target", ["arm64-cortex-a76", pytest.param("arm64-cortex-a53", marks=pytest.mark.full), "armv7"]
)
def test_chain(name: str, target: str, tmp_path: Path) -> None:
    need_emulator(load_target(target))
    chain = CHAINS[name]
    expect_exact(ChainRun(chain, choose_tiles(chain, load_target(target)), tmp_path, target=target))


PAIR = Chain(
    5,
    30,
    48,
    (window("depthwise", (5, 30), 48, kernel=(3, 3), padding=((1, 1), (1, 1))), Stage("conv", 5, 30, 20)),
)


def test_what_a_product_reads_lies_tile_by_tile(tmp_path: Path) -> None:
    """Whole tiles of both stages and narrower ones at the ends of rows, which agree on where a pixel lies."""
    target = load_target("arm64-cortex-a76")
    need_emulator(target)
    tiles = ChainTiles(2, 2, "rows", (ConvTile(1, 14, 4, 4), ConvTile(1, 7, 12, 4, 4)))
    blocks = {array.stage: array.block for array in scratch_layout(PAIR, tiles)}
    assert blocks == {0: None, 1: Block(7, 4)}
    expect_exact(ChainRun(PAIR, tiles, tmp_path, target=target.name))


def test_tiles_of_arm64_are_cut_alike() -> None:
    """A product's tile divides that of the depthwise stage before it, where one that does is about as fast."""
    depthwise = replace(PAIR.stages[0], height=112, width=112, channels=32)
    wide = Chain(112, 112, 32, (depthwise, Stage("conv", 112, 112, 64)))
    writer, reader = choose_tiles(wide, load_target("arm64-cortex-a76")).stages
    assert writer.cols % reader.cols == 0 and reader.steps == 4


def test_other_processors_have_whole_pixels_between_stages() -> None:
    for name in ("x86-64-v3", "x86-64-v4", "armv7"):
        assert all(array.block is None for array in scratch_layout(PAIR, choose_tiles(PAIR, load_target(name))))


@pytest.mark.parametrize("name", ["inverted residual", "odd everything", "separable", "grouped", "classifier"])
@pytest.mark.parametrize("target", ["arm64-cortex-a72", "armv7"])
def test_weights_stored_as_float16(name: str, target: str, tmp_path: Path) -> None:
    """Vectors of them are converted by one instruction; without FEAT_FP16 nothing else knows float16."""
    need_emulator(load_target(target))
    chain = replace(CHAINS[name], weights_dtype="float16")
    expect_exact(ChainRun(chain, choose_tiles(chain, load_target(target)), tmp_path, target=target))
    tools = "aarch64-linux-gnu" if target.startswith("arm64") else "arm-linux-gnueabihf"
    listing = subprocess.run([f"{tools}-objdump", "-d", tmp_path / "k.o"], capture_output=True, text=True, check=True)
    assert re.search(r"\bfcvtl\b" if target.startswith("arm64") else r"\bvcvt\.f32\.f16\tq", listing.stdout)
