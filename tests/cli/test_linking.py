"""mncc build and the compilers that it needs, or does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Answer

Program = Callable[..., Answer]


def test_objects_for_a_system_that_no_compiler_here_knows(
    mncc: Program, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANDROID_NDK_HOME", raising=False)
    answer = mncc("build", tiny, "--target", "arm64-android", "-o", tmp_path / "out")
    assert answer.status == 3 and "--emit-objects" in answer.err and not (tmp_path / "out").exists()
    answer = mncc("build", tiny, "--target", "arm64-android", "--emit-objects", "-o", tmp_path / "out")
    assert answer.status == 0 and "CMakeLists.txt" in answer.out and (tmp_path / "out" / "tiny.h").is_file()


def test_a_compiler_and_no_compiler(mncc: Program, tiny: Path) -> None:
    answer = mncc("build", tiny, "--emit-objects", "--cc", "gcc")
    assert answer.status == 2 and "leave one of them out" in answer.err
    assert mncc("build", tiny, "--cc", " ").status == 2
