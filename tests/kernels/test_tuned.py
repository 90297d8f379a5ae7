"""Tables of tuned tiles: what is written is read, what proves nothing is not used, and nothing crashes."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mncc.kernels.chain import Chain, Stage
from mncc.kernels.chain_cost import choose_tiles
from mncc.kernels.family import family_of
from mncc.kernels.space import neighbours
from mncc.kernels.target import load_target
from mncc.kernels.tuned import CODE_FACTS, NO_TABLE, Stamp, TunedKernel, add_to_table, joined, read_table, stamp_of
from mncc.kernels.winograd import Winograd
from mncc.network.ops import Activation

ONE = ((1, 1), (1, 1))
TARGET = load_target("x86-64-v3")
STAMP = stamp_of(TARGET, "a definition")
CHAIN = Chain(14, 14, 16, (Stage("conv", 14, 14, 48, activation=Activation("relu6")), Stage("conv", 14, 14, 24)))
WINOGRAD = Winograd(28, 28, 64, (Stage("conv", 28, 28, 64, (3, 3), padding=ONE),))


def tuned(spec: Chain, **changes: Any) -> TunedKernel:
    """Tiles beside the default's."""
    _, tiles = next(neighbours(spec, TARGET, family_of(spec).choose_tiles(spec, TARGET)))
    found = TunedKernel(spec, tiles, "s", 3.5e-5, 4e-5, "local", "a processor", "2026-11-22", 64, "0f")
    return replace(found, **changes)


BOTH = (tuned(CHAIN), tuned(WINOGRAD))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A table of two kernels."""
    path = tmp_path / "x86-64-v3.json"
    add_to_table(path, STAMP, BOTH)
    return path


def test_what_is_written_is_read(file: Path) -> None:
    table = read_table(file, STAMP)
    assert table.kernels == {kernel.spec: kernel for kernel in BOTH} and not table.notes and table
    assert table.tiles() == {kernel.spec: kernel.tiles for kernel in BOTH}
    assert [path.name for path in file.parent.iterdir() if path.suffix == ".part"] == []


def test_a_file_does_not_depend_on_the_order(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    for kernel in reversed(BOTH):
        add_to_table(other, STAMP, [kernel])
    assert other.read_bytes() == file.read_bytes()


def test_people_can_read_it(file: Path) -> None:
    data = json.loads(file.read_text(encoding="utf-8"))
    assert data["target"] == "x86-64-v3" and data["format"] == 1
    assert [entry["kernel"] for entry in data["kernels"]] == [
        "14x14x16: conv 1x1x48 / 1 relu6 -> 14x14, conv 1x1x24 / 1 -> 14x14",
        "28x28x64: conv 3x3x64 -> 28x28",
    ]


def test_a_later_measurement_replaces_an_earlier_one_but_seconds_stay_before_instructions(file: Path) -> None:
    later = replace(BOTH[0], cost=3e-5, tiles=choose_tiles(CHAIN, TARGET))
    counted = tuned(WINOGRAD, unit="instructions", cost=1000.0)
    assert add_to_table(file, STAMP, [later, counted]).kernels == {CHAIN: later, WINOGRAD: BOTH[1]}
    assert read_table(file, STAMP).kernels == {CHAIN: later, WINOGRAD: BOTH[1]}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": 2}, "it is of format 2, and this version of mncc reads 1"),
        ({"target": "armv7"}, "it is for armv7, not for x86-64-v3"),
        ({"facts": "another"}, "x86-64-v3 was something else when its kernels were measured"),
        ({"definition": "another"}, "the code of kernels has changed since they were measured"),
    ],
)
def test_a_table_for_something_else_is_not_used_and_says_why(file: Path, change: dict[str, Any], why: str) -> None:
    data = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**data, **change}), encoding="utf-8")
    table = read_table(file, STAMP)
    assert not table and table.notes == (f"{file} is not used: {why}",)
    added = add_to_table(file, STAMP, [BOTH[0]])
    assert list(added.kernels) == [CHAIN] and added.notes == table.notes
    assert list(read_table(file, STAMP).kernels) == [CHAIN]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"format": 1}', b"[" * 100_000, b'{"format": 1, "kernels": []}'],
    ids=["empty", "half", "list", "number", "bytes", "headless", "deep", "no target"],
)
def test_what_is_no_table_is_not_used(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x86-64-v3.json"
    file.write_bytes(content)
    assert read_table(file, STAMP).notes == (f"{file} is not used: it is no table of tuned tiles",)


def test_a_file_that_cannot_be_read_is_not_used(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert read_table(missing, STAMP).notes == (f"{missing} is not used: No such file or directory",)
    assert "Is a directory" in read_table(tmp_path, STAMP).notes[0]


@pytest.mark.parametrize(
    "change",
    [{"tiles": None}, {"family": "plain"}, {"family": []}, {"cost": "much"}, {"unit": "h"}, {"spec": {}}, {"new": 1}],
    ids=str,
)
def test_one_bad_kernel_costs_only_itself(file: Path, change: dict[str, Any]) -> None:
    data = json.loads(file.read_text(encoding="utf-8"))
    data["kernels"][1] |= change
    file.write_text(json.dumps(data), encoding="utf-8")
    table = read_table(file, STAMP)
    assert list(table.kernels) == [CHAIN]
    assert table.notes == (f"{file}: 1 of its 2 kernels cannot be read and are not used",)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(place=st.integers(0, 10**6), byte=st.integers(0, 255), cut=st.booleans())
def test_no_damage_crashes(file: Path, place: int, byte: int, cut: bool) -> None:
    whole = file.with_suffix(".whole")
    if not whole.exists():
        whole.write_bytes(file.read_bytes())
    content = bytearray(whole.read_bytes())
    content[place % len(content)] = byte
    file.write_bytes(content[: place % len(content)] if cut else content)
    table = read_table(file, STAMP)
    assert len(table.kernels) <= 2 and all(isinstance(kernel, TunedKernel) for kernel in table.kernels.values())


def test_every_fact_of_a_target_either_decides_code_or_does_not() -> None:
    """A new one has to be put on one of the lists."""
    words = {"name", "description", "requires", "parts", "emulated"}
    costs = {"full", "fma_latency", "enough_sums", "loads", "load_slots", "l1", "l2", "l3", "own_ahead", "l3_most"}
    costs |= {"l2_bytes", "l3_bytes", "memory_bytes", "unroll", "strassen"}
    assert {field.name for field in fields(TARGET)} - words - costs == set(CODE_FACTS)


def test_facts_that_decide_no_code_do_not_count() -> None:
    assert stamp_of(replace(TARGET, description="x", l2=1, memory_bytes=9.0), "d") == stamp_of(TARGET, "d")
    for change in ({"features": ("+avx512f",)}, {"registers": 32}, {"inputs": "register"}):
        assert stamp_of(replace(TARGET, **change), "d") != stamp_of(TARGET, "d")


def test_of_several_tables_the_last_counts() -> None:
    first, second = (read_table(Path("missing"), STAMP), NO_TABLE)
    assert not joined([first, second]) and len(joined([first, first, second]).notes) == 1


def _add(file: Path, number: int) -> None:
    chain = replace(CHAIN, output_spare=number)
    add_to_table(file, STAMP, [tuned(chain)])


def test_processes_that_add_at_once_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "x86-64-v3.json"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add, args=(file, number)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert {chain.output_spare for chain in read_table(file, STAMP).kernels} == set(range(8))


def test_the_stamp_is_of_the_target(file: Path) -> None:
    v4 = load_target("x86-64-v4")
    assert stamp_of(v4, "a definition") != STAMP
    assert "it is for x86-64-v3, not for x86-64-v4" in read_table(file, Stamp("x86-64-v4", "", "")).notes[0]
