"""What all tests share: golden files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# A commit passes or fails, whoever tests it: random cases are the same ones every time. `make fuzz` draws new ones.
settings.register_profile("same", derandomize=True)
settings.register_profile("fresh", derandomize=False, print_blob=True)
settings.load_profile("same")
# What somebody has tuned on this machine decides nothing here, nor in processes that tests start.
os.environ["MNCC_TUNED"] = "off"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what was printed into the golden files")


@pytest.fixture
def without_zig(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package ziglang is not there, which is a compiler that no PATH hides."""
    monkeypatch.setattr("mncc.library.toolchain.has_zig_package", lambda: False)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """`golden(path, text)` asserts that the file holds the text, or with --update-golden writes it."""

    def check(path: Path, text: str) -> None:
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"{path} is missing: run this test once with --update-golden and read what it wrote"
        assert text == path.read_text(encoding="utf-8"), f"{path} differs; if that is right, use --update-golden"

    return check
