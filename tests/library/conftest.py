"""Fixtures of the library room: toy libraries, built once a worker, and programs compiled against them."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mncc.library.write import LibraryFiles, write_library
from tests.library.toy import classifier_spec, toy_spec

PROGRAMS = Path(__file__).parent / "programs"
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-pedantic")

Toys = tuple[LibraryFiles, LibraryFiles]


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Toys]:
    """toys(*flags): the libraries `toy` and `other`, everything compiled with these flags (a sanitizer's)."""

    @functools.cache
    def build(*flags: str) -> Toys:
        folder = tmp_path_factory.mktemp("toys")
        toy = write_library(toy_spec(flags=flags), folder / "toy", probe=not flags, cflags=flags)
        other = write_library(classifier_spec("other", flags=flags), folder / "other", cflags=flags)
        return toy, other

    return build


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[..., Path]:
    """compiled(source, *arguments): a program of tests/library/programs, or the text of one, compiled and linked."""

    def build(source: str, *arguments: str | Path) -> Path:
        path = PROGRAMS / source
        output = tmp_path / path.stem
        compiler = ["g++", "-std=c++11"] if path.suffix == ".cpp" else ["gcc", "-std=c99"]
        command = [*compiler, *WARNINGS, "-g", "-pthread", str(path), *map(str, arguments), "-o", str(output)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return output

    return build


def says(*command: str | Path) -> str:
    """Standard output of a program that must succeed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
