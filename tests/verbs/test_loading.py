"""A library that refuses to run is told as a fact about the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from mncc.devices.loaded import RunError
from mncc.language.diagnostic import OutsideError
from mncc.report.progress import Progress
from mncc.verbs.job import prepare
from mncc.verbs.loading import loaded

TINY = Path(__file__).resolve().parents[2] / "docs" / "tiny.mn"


def test_a_cpu_without_the_instructions() -> None:
    with pytest.raises(OutsideError, match="avx512f") as caught, loaded(prepare(TINY, {}), Progress()):
        raise RunError("tiny", 4, "this processor lacks avx512f")
    assert caught.value.help and "mncc targets" in caught.value.help


def test_the_folder_goes_away() -> None:
    with loaded(prepare(TINY, {}), Progress(), probe=True) as here:
        folder = here.library.path.parent
        assert here.probe is not None and folder.is_dir()
    assert not folder.exists()
