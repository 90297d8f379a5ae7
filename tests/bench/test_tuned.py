"""Tables that are of other sources are kept as far as the kernels' code is what it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.tuned import main, renew
from mncc.backend import KernelFunction
from mncc.backend.definition import code_of
from mncc.kernels.chain import Chain, Stage
from mncc.kernels.chain_cost import choose_tiles
from mncc.kernels.target import load_target
from mncc.kernels.tuned import TunedKernel
from mncc.language.diagnostic import OutsideError
from mncc.tuning.tables import keep, load_table

TARGET = load_target("x86-64-v3")


def tuned(channels: int) -> TunedKernel:
    chain = Chain(4, 4, 8, (Stage("conv", 4, 4, channels),))
    tiles = choose_tiles(chain, TARGET)
    code = code_of(KernelFunction(chain, tiles, ()), TARGET)
    return TunedKernel(chain, tiles, "s", 1e-6, 2e-6, "local", "a processor", "2026-11-22", 9, code)


def make_stale(file: Path) -> None:
    data = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**data, "definition": "of last year"}), encoding="utf-8")
    assert not load_table(file, TARGET)


def test_what_is_the_same_is_kept_and_the_rest_is_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x86-64-v3.json"
    same, changed = tuned(8), replace(tuned(16), code="what it was")
    keep(file, TARGET, [same, changed])
    assert main([str(file)]) == 0
    make_stale(file)
    assert main([str(file)]) == 1
    assert load_table(file, TARGET).kernels == {same.spec: same}
    assert "1 kernels are as they were, 1 are not" in capsys.readouterr().err
    make_stale(file)
    assert renew(file) == 0 and load_table(file, TARGET).kernels == {same.spec: same}


def test_a_table_of_which_nothing_is_left_goes(tmp_path: Path) -> None:
    file = tmp_path / "x86-64-v3.json"
    keep(file, TARGET, [replace(tuned(8), code="what it was")])
    make_stale(file)
    assert renew(file) == 1 and not file.exists()


def test_what_is_no_table_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "x86-64-v3.json"
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(OutsideError, match="no table"):
        renew(file)
    assert file.read_text(encoding="utf-8") == "{}"
