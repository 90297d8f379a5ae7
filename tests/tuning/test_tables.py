"""Where tuned tables lie, and which of them count."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mncc.kernels.chain import Chain, Stage
from mncc.kernels.chain_cost import choose_tiles
from mncc.kernels.target import load_target
from mncc.kernels.tuned import TunedKernel
from mncc.tuning import tables
from mncc.tuning.tables import keep, load_table, load_tables, own_folder, own_table, shipped_table

TARGET = load_target("x86-64-v3")
CHAIN = Chain(14, 14, 16, (Stage("conv", 14, 14, 48),))


def tuned(device: str) -> TunedKernel:
    return TunedKernel(CHAIN, choose_tiles(CHAIN, TARGET), "s", 1e-5, 2e-5, device, "a processor", "2026-11-22", 64)


def test_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert own_folder() is None and own_table("armv7") is None
    monkeypatch.setenv("MNCC_TUNED", str(tmp_path))
    assert own_folder() == tmp_path and own_table("armv7") == tmp_path / "armv7.json"
    monkeypatch.delenv("MNCC_TUNED")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert own_folder() == tmp_path / "mncc" / "tuned"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert own_folder() == tmp_path / ".local" / "share" / "mncc" / "tuned"


def test_own_kernels_go_before_those_that_came_with_mncc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MNCC_TUNED", str(tmp_path / "own"))
    monkeypatch.setattr(tables, "shipped_table", lambda target: tmp_path / f"{target}.json")
    assert not load_tables(TARGET)
    keep(tmp_path / "x86-64-v3.json", TARGET, [tuned("shipped")])
    assert load_tables(TARGET).kernels[CHAIN].device == "shipped"
    own = own_table("x86-64-v3")
    assert own is not None
    assert keep(own, TARGET, [tuned("own")]).kernels == load_tables(TARGET).kernels == {CHAIN: tuned("own")}
    assert not load_tables(load_target("x86-64-v4"))


def test_a_kernel_for_which_nothing_is_faster_hides_a_table_s_tiles(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MNCC_TUNED", str(tmp_path / "own"))
    monkeypatch.setattr(tables, "shipped_table", lambda target: tmp_path / f"{target}.json")
    keep(tmp_path / "x86-64-v3.json", TARGET, [tuned("shipped")])
    assert load_tables(TARGET).tiles() == {CHAIN: tuned("shipped").tiles}
    own = own_table("x86-64-v3")
    assert own is not None
    keep(own, TARGET, [replace(tuned("own"), cost=2e-5)])
    assert load_tables(TARGET).tiles() == {}


@pytest.mark.parametrize("damage", ["", "{", '{"format": 0}', "a kernel"])
def test_of_a_table_that_is_not_used_a_copy_remains(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "x86-64-v3.json"
    keep(file, TARGET, [tuned("before")])
    assert not list(tmp_path.glob("*.old"))
    was = file.read_text().replace('"cost"', '"costs"') if damage == "a kernel" else damage
    file.write_text(was)
    now = keep(file, TARGET, [tuned("now")])
    old = tmp_path / "x86-64-v3.json.old"
    assert old.read_text() == was and now.notes[-1] == f"{file} is written anew; what it was is {old}"
    assert load_table(file, TARGET).kernels == now.kernels == {CHAIN: tuned("now")}


def test_tables_that_come_with_mncc_are_for_the_code_that_comes_with_it() -> None:
    """Where this fails, `python -m bench.tuned` keeps the kernels whose code is still the same."""
    files = sorted(shipped_table("any").parent.glob("*.json"))
    if not files:
        pytest.skip("no tuned table comes with mncc yet")
    for file in files:
        table = tables.load_table(file, load_target(file.stem))
        assert table and not table.notes
