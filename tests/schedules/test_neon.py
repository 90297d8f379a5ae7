"""Kernels for arm64 and armv7, run under qemu with just the instructions of their processors."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from mncc.kernels.chain_cost import choose_tiles
from mncc.kernels.target import load_target
from tests.schedules.emulated import need_emulator
from tests.schedules.harness import ChainRun
from tests.schedules.test_chain import CHAINS, expect_exact


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize(
    "target", ["arm64-cortex-a76", pytest.param("arm64-cortex-a53", marks=pytest.mark.full), "armv7"]
)
def test_chain(name: str, target: str, tmp_path: Path) -> None:
    need_emulator(load_target(target))
    chain = CHAINS[name]
    expect_exact(ChainRun(chain, choose_tiles(chain, load_target(target)), tmp_path, target=target))


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
