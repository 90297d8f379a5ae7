"""Fixtures of the command line's tests: running mncc in this process, and a small network."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mncc.cli import main

TINY = Path(__file__).resolve().parents[2] / "docs" / "tiny.mn"


@dataclass(frozen=True)
class Answer:
    """What a command answered."""

    status: int
    out: str
    err: str


@pytest.fixture
def mncc(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """`mncc("check", path)` runs the program; it never prints a traceback, nor colours, which need a terminal."""

    def run(*arguments: str | os.PathLike[str]) -> Answer:
        status = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err + printed.out
        assert "\x1b[" not in printed.err + printed.out
        assert "this is a bug in mncc" not in printed.err, printed.err
        return Answer(status, printed.out, printed.err)

    return run


@pytest.fixture
def tiny() -> Path:
    """A network that compiles in seconds: 32 x 32 pictures, ten classes."""
    return TINY


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture of noise, 80 x 60 pixels."""
    path = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(path)
    return path
