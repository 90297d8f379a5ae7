"""Tuned tables through the verbs: what they change, what is said of them, and what is said of those not used."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import mncc
from mncc.cli import main
from mncc.kernels.chain import ChainTiles
from mncc.kernels.space import neighbours
from mncc.kernels.target import Target, load_target
from mncc.kernels.tuned import TunedKernel
from mncc.plan import make_plan
from mncc.tuning.tables import keep
from mncc.verbs.cache import key_of
from mncc.verbs.job import load_network, prepare

TINY = Path(__file__).resolve().parents[2] / "docs" / "tiny.mn"
NATIVE = load_target("native")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The program in this process: status, standard output, standard error."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        status = main([str(word) for word in words])
        return status, *capsys.readouterr()

    return run


def tuned_kernels(target: Target, count: int = 2) -> list[TunedKernel]:
    """Other tiles than the default's for the last kernels of tiny that have any."""
    plan = make_plan(load_network(TINY, {}), target)
    found = []
    for kernel in plan.kernels:
        if isinstance(kernel.tiles, ChainTiles):
            _, tiles = next(neighbours(kernel.spec, target, kernel.tiles))
            found.append(TunedKernel(kernel.spec, tiles, "s", 1e-6, 2e-6, "local", "cpu", "2026-11-22", 9))
    return found[:count]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of two kernels for this machine."""
    file = tmp_path / "tuned" / f"{NATIVE.name}.json"
    keep(file, NATIVE, tuned_kernels(NATIVE))
    return file


def test_a_plan_has_the_tiles_and_says_so(table: Path, run: Run) -> None:
    status, plain, err = run("emit", TINY, "--stage", "plan")
    assert (status, err) == (0, "") and "tuned" not in plain
    status, tuned, err = run("emit", TINY, "--stage", "plan", "--tuned", table)
    assert (status, err) == (0, "")
    assert [line.endswith(", with tuned tiles") for line in tuned.splitlines() if "predicted" in line][:3] == [
        True,
        True,
        False,
    ]
    assert run("emit", TINY, "--stage", "plan", "--tuned", table.parent)[1] == tuned
    assert run("emit", TINY, "--stage", "tir", "--tuned", table)[1] != run("emit", TINY, "--stage", "tir")[1]


def test_own_tables_are_used_unless_told_otherwise(table: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = run("emit", TINY, "--stage", "plan")[1]
    monkeypatch.setenv("MNCC_TUNED", str(table.parent))
    assert "with tuned tiles" in run("emit", TINY, "--stage", "plan")[1]
    assert run("emit", TINY, "--stage", "plan", "--tuned", "none") == (0, plain, "")


def test_a_library_with_tuned_tiles_is_right_and_says_what_it_is(table: Path, run: Run, tmp_path: Path) -> None:
    options = ("--weights", "random:1", "--tuned", table)
    status, out, err = run("build", TINY, *options, "-o", tmp_path / "tiny")
    assert status == 0 and "kernels, 2 with tiles from a tuned table, " in out and "tuned" not in err
    kernels = json.loads((tmp_path / "tiny" / "tiny.json").read_text(encoding="utf-8"))["kernels"]
    assert [kernel["tuned"] for kernel in kernels[:3]] == [True, True, False]
    assert run("verify", TINY, *options)[0] == 0
    assert run("build", TINY, "--weights", "random:1", "-o", tmp_path / "plain")[0] == 0
    plain = json.loads((tmp_path / "plain" / "tiny.json").read_text(encoding="utf-8"))["kernels"]
    assert not any(kernel["tuned"] for kernel in plain) and plain[0]["tiles"] != kernels[0]["tiles"]


def test_tiles_tuned_by_instructions_are_called_so(tmp_path: Path, run: Run) -> None:
    file = tmp_path / f"{NATIVE.name}.json"
    first, second = tuned_kernels(NATIVE)
    keep(file, NATIVE, [replace(first, unit="instructions", device="qemu"), second])
    _, out, _ = run("build", TINY, "--tuned", file, "-o", tmp_path / "tiny")
    assert "2 with tiles from a tuned table (1 of them tuned by instructions, not by time), " in out


def test_the_same_numbers_in_python(table: Path) -> None:
    assert "with tuned tiles" in mncc.emit(TINY, "plan", tuned=table)
    assert mncc.cost(TINY, tuned="none").workspace_bytes == mncc.cost(TINY).workspace_bytes


def test_compiled_libraries_are_kept_by_the_tiles_they_have(table: Path) -> None:
    def key(**settings: Any) -> str:
        return key_of(prepare(TINY, {}, weights="random:1", **settings))

    plain, tuned = key(), key(tuned=table)
    assert plain != tuned
    other = replace(tuned_kernels(NATIVE)[0].spec, output_spare=64)
    keep(table, NATIVE, [replace(tuned_kernels(NATIVE)[0], spec=other)])
    assert key(tuned=table) == tuned


def test_several_targets_use_their_own_tables(tmp_path: Path, run: Run) -> None:
    target = load_target("x86-64-v3")
    keep(tmp_path / "x86-64-v3.json", target, tuned_kernels(target, 1))
    job = prepare(TINY, {}, "x86-64-v3,x86-64-v4", "random:1", tuned=tmp_path)
    assert [bool(single.tuned_tiles) for single in job.singles] == [True, False] and job.tuned_kernels() == 1
    assert run("emit", TINY, "--stage", "plan", "--target", "x86-64-v4", "--tuned", tmp_path)[0] == 2


def test_tiles_that_a_kernel_cannot_have_leave_it_the_default(table: Path, run: Run) -> None:
    first, second = tuned_kernels(NATIVE)
    impossible = replace(first.tiles, strip=1000, band=1000)
    keep(table, NATIVE, [replace(first, tiles=impossible), second])
    status, out, err = run("emit", TINY, "--stage", "plan", "--tuned", table)
    assert status == 0 and out.count("with tuned tiles") == 1
    assert err.count("warning: 1 kernel cannot have the tiles of the tuned table") == 1 and "k00_conv2d" in err


def test_a_table_that_proves_nothing_is_not_used_and_that_is_said_once(table: Path, run: Run, tmp_path: Path) -> None:
    plain = run("emit", TINY, "--stage", "plan")[1]
    data = json.loads(table.read_text(encoding="utf-8"))
    table.write_text(json.dumps({**data, "definition": "of last year"}), encoding="utf-8")
    status, out, err = run("emit", TINY, "--stage", "plan", "--tuned", table)
    assert (status, out) == (0, plain)
    assert err == f"warning: {table} is not used: the code of kernels has changed since they were measured\n"
    status, out, err = run("build", TINY, "--tuned", table, "-o", tmp_path / "tiny")
    assert status == 0 and "tuned" not in out and err.count("is not used") == 1


def test_wrong_paths(tmp_path: Path, run: Run) -> None:
    status, _, err = run("cost", TINY, "--tuned", tmp_path / "missing.json")
    assert status == 2 and "there is no table at" in err and "write none" in err
    status, _, err = run("emit", TINY, "--stage", "plan", "--target", "cuda-sm80", "--tuned", tmp_path)
    assert status == 2 and "kernels for GPUs are not tuned so far" in err
