"""The kernels' object and text: the same every time, and no disk is needed to make them."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mncc.backend import KernelFunction, compile_functions
from mncc.kernels.plain import Plain, PlainOp, PlainTiles
from mncc.kernels.target import load_target
from mncc.language.diagnostic import OutsideError
from mncc.network.ops import Activation

TINY = "docs/tiny.mn"
RELU = Plain(((4, 4, 8),), (PlainOp(Activation("relu"), (-1,)),))
FUNCTIONS = {KernelFunction(RELU, PlainTiles(8, 8), (True, True)): "kernel"}


def test_no_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    code = compile_functions(FUNCTIONS, load_target("x86-64-v3"))
    assert code.startswith(b"\x7fELF") and b"kernel" in code
    assert code == compile_functions(FUNCTIONS, load_target("x86-64-v3"))


def test_a_limit_on_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """LLVM would end the process with status 1."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4096, resource.RLIM_INFINITY))
    with pytest.raises(OutsideError, match="4096 bytes") as caught:
        compile_functions(FUNCTIONS, load_target("x86-64-v3"))
    assert "ulimit" in str(caught.value.help)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("file systems can only be mounted by root, outside of most containers")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    """Compiled from scratch, with temporary files and the output on the full disk."""
    environment = {**os.environ, "TMPDIR": str(small_disk), "MNCC_CACHE": str(small_disk / "cache")}
    command = [sys.executable, "-m", "mncc", "build", TINY, "-o", str(small_disk / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3, done.stderr
    assert "No space left" in done.stderr and "help:" in done.stderr and "Traceback" not in done.stderr
    left = [path for path in small_disk.rglob("*") if path.is_file()]
    assert not left and not (small_disk / "out").exists()


@pytest.mark.parametrize("stage", ["llvm", "asm"])
def test_printed_stages_are_the_same_twice(stage: str) -> None:
    """In processes of their own, whose addresses differ."""
    command = [sys.executable, "-m", "mncc", "emit", TINY, "--stage", stage, "--target", "x86-64-v3"]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert "kernel0" in first
    assert first == second
