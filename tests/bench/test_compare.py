"""Two commits' libraries side by side."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mncc
from bench.compare import COLUMNS, Comparison, checked_out, compare, difference, main
from mncc.elaborate import load
from mncc.language.diagnostic import OutsideError
from mncc.report.failures import guarded
from mncc.report.progress import Progress
from mncc.weights.random_weights import random_weights

TINY = Path(__file__).resolve().parents[2] / "docs" / "tiny.mn"


def test_libraries_run_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNCC_CACHE", "off")
    libraries = [mncc.build(TINY, weights=f"random:{seed}", output=tmp_path / str(seed)).path for seed in (0, 1)]
    network = load(TINY, {})
    weights = random_weights(network, 0)
    for pair, same in ((libraries, False), (libraries[:1] * 2, True)):
        found = compare("tiny", network, weights, pair, 1, 0.01, Progress())
        assert len(found.a) >= 15 and len(found.b) >= 15 and min(*found.a, *found.b) > 0
        assert (found.difference is None) == same


def test_a_row() -> None:
    row = Comparison("net", (0.002, 0.004, 0.003), (0.001, 0.0015, 0.0018), 1e-7).cells()
    assert row == ("net", "3.000", "1.500", "0.500", "2.000", "1.000", "0.500", "1e-07")
    assert len(row) == len(COLUMNS)


def test_difference() -> None:
    one = np.ones((1, 3), np.float32)
    assert difference([one], [one.copy()]) is None
    assert difference([2 * one], [one]) == 0.5
    assert difference([one], [one, one]) == difference([one], [one[0]]) == float("inf")


def test_checking_out(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    git = ["git", "-C", str(repository), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    for text in ("old", "new"):
        (repository / "file").write_text(text)
        subprocess.run([*git, "add", "file"], check=True)
        subprocess.run([*git, "commit", "-qm", text], check=True)
    with checked_out("HEAD~1", tmp_path / "tree", repository) as tree:
        assert (tree / "file").read_text() == "old"
    assert not (tmp_path / "tree").exists() and (repository / "file").read_text() == "new"
    with pytest.raises(OutsideError, match="git worktree add"), checked_out("hamster", tmp_path / "no", repository):
        pass


def test_an_unknown_network(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.compare", "HEAD", "HEAD", "hamster"])
    assert guarded(main) == 2
    assert "there is no network hamster" in capsys.readouterr().err
