"""The cache changes how long things take, and nothing else."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mncc.kernels.precision import Precision
from mncc.kernels.target import load_target
from mncc.report.progress import Progress
from mncc.verbs import cache
from mncc.verbs.job import Job


class FakeWeights:
    source = "random:0"

    def __init__(self, digest: str) -> None:
        self._digest = digest

    def digest(self) -> str:
        return self._digest


@dataclass
class Compiler:
    """Stands in for the compiler and counts its calls."""

    calls: int = 0

    def __call__(self, job: Job) -> Any:
        return cache.compiled(job, Progress())


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    from mncc.verbs import compile as real

    counter = Compiler()

    def compile_network(
        network: Any, target: Any, weights: Any, name: str, progress: Any, precision: Any, tuned: Any
    ) -> tuple[Any, None]:
        counter.calls += 1
        return ("spec of", name, weights.digest()), None

    monkeypatch.setattr(real, "compile_network", compile_network)
    monkeypatch.setenv("MNCC_CACHE", str(tmp_path / "cache"))
    return counter


def job(**changes: Any) -> Job:
    plain = Job("network", load_target("armv7"), FakeWeights("a"), "net")  # type: ignore[arg-type]
    return replace(plain, **changes)


def test_the_second_time_is_found(compiler: Compiler, tmp_path: Path) -> None:
    first = compiler(job())
    assert compiler(job()) == first
    assert compiler.calls == 1
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".spec"]


@pytest.mark.parametrize(
    "changes",
    [
        {"network": "another"},
        {"target": load_target("arm64")},
        {"name": "another"},
        {"weights": FakeWeights("b")},
        {"precision": Precision("float16")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_everything_that_decides_counts(compiler: Compiler, changes: dict[str, Any]) -> None:
    compiler(job())
    assert compiler(job(**changes)) == ("spec of", changes.get("name", "net"), "b" if "weights" in changes else "a")
    assert compiler.calls == 2


def test_the_compiler_s_own_files_count(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler(job())
    monkeypatch.setattr(cache, "_compiler", lambda: "another version")
    compiler(job())
    assert compiler.calls == 2


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 4096])
def test_a_damaged_entry_is_made_again(compiler: Compiler, tmp_path: Path, damage: bytes) -> None:
    first = compiler(job())
    next((tmp_path / "cache").iterdir()).write_bytes(damage)
    assert compiler(job()) == first
    assert compiler.calls == 2
    compiler(job())
    assert compiler.calls == 2


def test_turned_off(compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNCC_CACHE", "off")
    compiler(job())
    compiler(job())
    assert compiler.calls == 2 and not (tmp_path / "cache").exists()


def test_a_place_that_cannot_be_written_is_no_error(
    compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MNCC_CACHE", str(tmp_path / "file" / "cache"))
    compiler(job())
    compiler(job())
    assert compiler.calls == 2


def test_old_entries_and_remains_are_removed(
    compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "KEPT_ENTRIES", 3)
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "dead.part").touch()
    os.utime(folder / "dead.part", (0, 0))
    (folder / "alive.part").touch()
    for number in range(5):
        compiler(job(name=f"net{number}"))
        for path in folder.glob("*.spec"):
            os.utime(path, (time.time() - 10 + number,) * 2) if path.stat().st_mtime > time.time() - 1 else None
    assert len(list(folder.glob("*.spec"))) == 3
    assert (folder / "alive.part").exists() and not (folder / "dead.part").exists()
    calls = compiler.calls
    compiler(job(name="net4"))
    assert compiler.calls == calls


def test_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MNCC_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache.cache_folder() == Path("/somewhere/mncc")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache.cache_folder() == Path("/home/somebody/.cache/mncc")
