"""The list of what is measured."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.peers.__main__ import main
from bench.peers.cases import Case, choose, load_cases
from mncc.elaborate import load
from mncc.report.failures import UsageError, guarded

ROOT = Path(__file__).resolve().parents[2]
CASES = load_cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_networks_load_with_their_settings(case: Case) -> None:
    network = load(ROOT / "examples" / f"{case.example}.mn", case.settings)
    assert network.macs > 0
    for name, value in case.settings.items():
        assert str(network.settings[name]).lower() in (value, f"{value}.0")


def test_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len({case.title for case in CASES}) == len(CASES)


def test_choosing() -> None:
    assert [case.name for case in choose(CASES, ["resnet50", "squeezenet"])] == [
        "squeezenet",
        "squeezenet_simple",
        "squeezenet_complex",
        "resnet50",
    ]
    assert [case.settings for case in choose(CASES, ["shufflenet_v1_2.0_se"])] == [{"width": "2", "se": "true"}]
    assert choose(CASES, []) == ()
    with pytest.raises(UsageError, match="there is no network hamster"):
        choose(CASES, ["resnet50", "hamster"])


def test_unknown_words_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "networks.toml"
    file.write_text('[[network]]\nname = "a"\ntitle = "A"\nsetings = {}\n')
    with pytest.raises(ValueError, match="a: setings means nothing"):
        load_cases(file)


def test_an_unknown_network_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.peers", "hamster"])
    assert guarded(main) == 2
    assert "there is no network hamster" in capsys.readouterr().err
