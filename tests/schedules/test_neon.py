"""Kernels for arm64 and armv7, run under qemu with just the instructions of their processors."""

from __future__ import annotations

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
