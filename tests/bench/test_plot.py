"""The picture of the README."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench.peers import __main__ as program
from bench.peers.cases import load_cases
from bench.peers.plot import picture, rows
from bench.peers.table import BEGIN, END
from tests.bench.results import timing

ROOT = Path(__file__).resolve().parents[2]
TITLES = {"vgg16": "VGG-16", "squeezenet": "SqueezeNet", "gone": "Gone"}


def content(*timings: dict[str, Any]) -> dict[str, Any]:
    return {
        "results": list(timings),
        "missing": [],
        "fma_peak_gflops": 118.2,
        "machine": {"cpu": "Zen 4", "cpus": 2},
        "measured": "2026-01-02",
    }


RESULTS = {
    "vgg16": content(
        timing("mncc", 1, 200.0, 66.0),
        timing("litert", 1, 150.0, 88.0, version="2.3.0"),
        timing("torch", 1, 50.0, 99.0),
        timing("openvino", 2, 10.0, 91.0),
    ),
    "squeezenet": content(
        timing("mncc", 1, 10.0, 142.4), timing("ncnn", 1, 13.0, 109.5), timing("litert", 1, 17.0, 83.8, version="2.4.0")
    ),
    "not among the titles": content(timing("mncc", 1, 1.0, 50.0)),
}


def texts(svg: str) -> list[str]:
    """What a reader of the picture reads."""
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_rows_have_the_engines_of_one_thread_and_the_furthest_lead_first() -> None:
    first, second = rows(RESULTS, TITLES)
    assert (first.title, first.shares) == ("SqueezeNet", {"mncc": 142.4, "ncnn": 109.5, "litert": 83.8})
    assert first.ahead == pytest.approx(1.3)
    assert (second.title, second.shares) == ("VGG-16", {"mncc": 66.0, "litert": 88.0})
    assert second.ahead == pytest.approx(0.75)


def test_rows_without_a_share_or_another_engine() -> None:
    alone = {"vgg16": content(timing("mncc", 1, 200.0, 66.0)), "squeezenet": content(timing("mncc", 1, 10.0, None))}
    (row,) = rows(alone, TITLES)
    assert (row.title, row.ahead) == ("VGG-16", None)
    assert "66 %" in texts(picture(alone, TITLES) or "")
    assert picture({}, TITLES) is None
    assert picture(RESULTS, {}) is None


def test_what_the_picture_says() -> None:
    svg = picture(RESULTS, TITLES)
    assert svg is not None
    said = texts(svg)
    assert [text for text in said if text in TITLES.values()] == ["SqueezeNet", "VGG-16"]
    assert {"142 %", "1.30 ×", "66 %", "0.75 ×", "FMA peak", "100 %"} <= set(said)
    assert {"mncc 1.0", "LiteRT 2.3.0 and 2.4.0", "ncnn 1.0"} <= set(said)
    assert not any("OpenVINO" in text or "torch" in text for text in said)
    assert "Zen 4, 2 CPUs; FMA peak 118 GFLOP/s a core; outputs within 3e-06 of mncc's; 2026-01-02." in said


def test_every_share_has_its_mark_at_its_place() -> None:
    """Marks are of the same scale as the peak's line: the place of ncnn's is 109.5 % of the way to it."""
    svg = picture({"squeezenet": RESULTS["squeezenet"]}, TITLES)
    assert svg is not None
    marks = [float(x) for x in re.findall(r'<use xlink:href="[^"]*" x="([\d.]+)"', svg)]
    scale = {text: float(x) for x, text in re.findall(r'<text [^>]*? x="([\d.]+)"[^>]*>(0 %|100 %)</text>', svg)}
    places = [100 * (x - scale["0 %"]) / (scale["100 %"] - scale["0 %"]) for x in marks]
    assert any(place == pytest.approx(109.5, abs=0.01) for place in places)
    assert any(place == pytest.approx(83.8, abs=0.01) for place in places)


def test_the_same_results_are_the_same_file() -> None:
    svg = picture(RESULTS, TITLES)
    assert svg == picture(json.loads(json.dumps(RESULTS)), TITLES)
    assert svg is not None and "<dc:date>" not in svg and "Matplotlib v" not in svg


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`python -m bench.peers --readme` on a README.md, a picture and results of a test's own."""
    (tmp_path / "README.md").write_text(f"{BEGIN}\nold\n{END}\n", encoding="utf-8")
    (tmp_path / "peers.svg").write_text("old", encoding="utf-8")
    (tmp_path / "squeezenet.json").write_text(json.dumps(RESULTS["squeezenet"]), encoding="utf-8")
    monkeypatch.setattr(program, "README", tmp_path / "README.md")
    monkeypatch.setattr(program, "PICTURE", tmp_path / "peers.svg")
    monkeypatch.setattr(sys, "argv", ["bench.peers", "--readme", "--results", str(tmp_path)])
    return tmp_path


def test_readme_and_picture_are_written(copies: Path) -> None:
    assert program.main() == 0
    assert "| SqueezeNet | 10.00 (142 %) |" in (copies / "README.md").read_text(encoding="utf-8")
    assert "SqueezeNet" in texts((copies / "peers.svg").read_text(encoding="utf-8"))


def test_without_matplotlib_the_tables_are_written(
    copies: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert program.main() == 0
    assert "| SqueezeNet | 10.00 (142 %) |" in (copies / "README.md").read_text(encoding="utf-8")
    assert (copies / "peers.svg").read_text(encoding="utf-8") == "old"
    assert "warning: peers.svg is not drawn: matplotlib is not installed" in capsys.readouterr().err


def test_the_readme_shows_the_picture_of_its_table() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"!\[([^\]]{40,})\]\((docs/peers\.svg)\)", readme)
    assert shown and shown.start() < readme.index("\n| ")
    said = texts((ROOT / shown[2]).read_text(encoding="utf-8"))
    pictured = [case.title for case in load_cases() if case.pictured]
    titles = [text for text in said if text in pictured]
    assert sorted(titles) == sorted(pictured)
    shares = [share for share, ahead in pairwise(said) if ahead.endswith(" ×")]
    table = dict(re.findall(r"^\| ([^|]+?) \| [\d.]+ \((\d+ %)\) \|", readme[readme.index(BEGIN) :], re.M))
    drawn = dict(zip(titles, shares, strict=True))
    assert drawn == {title: table[title] for title in titles}, "python -m bench.peers --readme writes both"
