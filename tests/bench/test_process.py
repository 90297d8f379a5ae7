"""A C process that runs a network once."""

from __future__ import annotations

from pathlib import Path

import pytest

import mncc
from bench.process import COLUMNS, link, measure
from mncc.library.write import LibraryFiles

TINY = Path(__file__).resolve().parents[2] / "docs" / "tiny.mn"


def test_both_programs_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNCC_CACHE", "off")
    out = mncc.build(TINY, output=tmp_path / "out").path.parent
    endings = ("libtiny.so", "libtiny.a", "tiny.h", "tiny.json", "tinyConfig.cmake", "tiny.pc")
    files = LibraryFiles(out, *(out / ending for ending in endings))
    found = measure(link(files, "tiny", tmp_path), 2)
    assert set(found) == {"archive", "shared library"}
    for both in found.values():
        least, middle = both["min"], both["median"]
        assert set(least) == set(middle) == set(COLUMNS)
        assert all(0 < least[key] <= middle[key] for key in COLUMNS)
        assert least["main_wall_ms"] < middle["first_wall_ms"] and least["peak_mb"] < 20
