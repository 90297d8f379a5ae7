"""Measuring the space of tiles: heats, what is compared, and a tiny network from end to end. Nothing about speed."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import tiles
from bench.heats import (
    MOST_KERNELS,
    Entrant,
    build_heat,
    cut_into_heats,
    inputs_of,
    output_shape,
    outputs,
    shared_bytes,
    times,
)
from bench.tiles import Found, chosen, finalists, summary, text_of, timed
from mncc.kernels.chain import Chain, ChainTiles, Stage
from mncc.kernels.chain_cost import choose_tiles
from mncc.kernels.family import family_of
from mncc.kernels.space import decisions_of
from mncc.kernels.strassen import Strassen
from mncc.kernels.target import load_target
from mncc.kernels.tiles import ConvTile
from mncc.kernels.winograd import Winograd
from mncc.network.ops import Activation
from mncc.report.failures import guarded

TINY = Path(__file__).resolve().parents[2] / "docs" / "tiny.mn"
ONE = ((1, 1), (1, 1))
CHAIN = Chain(
    15,
    14,
    16,
    (Stage("depthwise", 15, 14, 16, (3, 3), padding=ONE, activation=Activation("relu6")), Stage("conv", 15, 14, 24)),
    residual=False,
    input_pads=ONE,
    output_spare=8,
)
V4 = load_target("x86-64-v4")


def test_a_heat_runs_all_and_all_agree(tmp_path: Path) -> None:
    target = load_target("native")
    default = choose_tiles(CHAIN, target)
    same = Chain(8, 9, 16, (Stage("conv", 8, 9, 16),), residual=True)
    entrants = [
        Entrant(CHAIN, default),
        Entrant(CHAIN, replace(default, strip=3, band=2)),
        Entrant(same, choose_tiles(same, target)),
        Entrant(CHAIN, default),
    ]
    folder = build_heat(entrants, target, tmp_path / "heat")
    made = outputs(entrants, folder)
    assert [m.shape for m in made] == [output_shape(e.spec) for e in entrants]
    assert np.array_equal(made[0], made[3]) and np.allclose(made[0], made[1], atol=1e-5)
    found = times(entrants, folder, 0.001)
    assert len(found) == 4 and all(min(each) > 0 for each in found)
    assert [one.entrant for one in timed(entrants, found)] == entrants[:3]


def test_inputs_lie_as_the_kernel_expects_them() -> None:
    source, addend = inputs_of(CHAIN)
    assert source.shape == (17, 16, 16) and addend.shape == (1,)
    assert not source[0].any() and not source[:, -1].any() and source[1:-1, 1:-1].all()
    assert source.ctypes.data % 64 == 0


def test_heats_keep_to_their_limits() -> None:
    entrant = Entrant(CHAIN, choose_tiles(CHAIN, V4))
    heats = cut_into_heats([entrant] * (2 * MOST_KERNELS), [entrant])
    assert sum(len(heat) - 1 for heat in heats) == 2 * MOST_KERNELS
    assert max(map(len, heats)) <= MOST_KERNELS
    large = Chain(1, 1, 2048, (Stage("conv", 1, 1, 1000),))
    heavy = Entrant(large, choose_tiles(large, V4))
    assert [len(heat) for heat in cut_into_heats([heavy] * 3, [heavy])] == [2, 2, 2]


def test_what_is_measured_is_the_best_predicted_of_every_knob() -> None:
    default = choose_tiles(CHAIN, V4)
    decisions = decisions_of(CHAIN, V4, default)
    found = chosen(CHAIN, default, V4, 3)
    assert set(found) == {0, 1, 2} and all(1 <= len(values) <= 3 for values in found.values())
    for index, values in found.items():
        for other in (decisions_of(CHAIN, V4, value) for value in values):
            assert [i for i, pair in enumerate(zip(decisions, other, strict=True)) if len(set(pair)) > 1] == [index]
    stage = Stage("conv", 28, 28, 64, (3, 3), padding=ONE)
    spec = Winograd(28, 28, 64, (stage,))
    assert set(chosen(spec, family_of(spec).choose_tiles(spec, V4), V4, 2)) == {0, 1}


def test_every_family_has_a_line_and_room_between_its_phases() -> None:
    stages = Stage("depthwise", 8, 8, 64, (3, 3), padding=ONE), Stage("conv", 8, 8, 64)
    strassen = Strassen(8, 8, 64, stages, input_pads=ONE)
    dense = Winograd(28, 28, 64, (Stage("conv", 28, 28, 64, (3, 3), padding=ONE),))
    lines = [text_of(family_of(spec).choose_tiles(spec, V4)) for spec in (CHAIN, strassen, dense)]
    assert len(set(lines)) == 3 and all("x" in line for line in lines)
    entrant = Entrant(strassen, family_of(strassen).choose_tiles(strassen, V4))
    assert shared_bytes(entrant) == 7 * 32 * 32 * 4
    assert shared_bytes(Entrant(dense, family_of(dense).choose_tiles(dense, V4))) == 0


def test_the_fastest_of_every_knob_are_put_together() -> None:
    default = ChainTiles(2, 1, "rows", (ConvTile(1, 8, 16, 16), ConvTile(1, 6, 16, 16)))
    wide = replace(default, stages=(ConvTile(1, 9, 16, 16), default.stages[1]))
    slow = replace(default, stages=(default.stages[0], ConvTile(1, 5, 16, 16)))
    high = replace(default, strip=4, band=4)
    knobs = {0: [wide], 1: [slow], 2: [high]}
    found = finalists(CHAIN, V4, default, {wide: 0.9, slow: 1.1, high: 0.95}, knobs)
    assert found[0] == wide and found[-1] == replace(high, stages=wide.stages)
    assert finalists(CHAIN, V4, default, {slow: 1.1}, {1: [slow]}) == [slow]
    assert text_of(high) == "4/4 rows, 1x8x16/16 1x6x16/16"


def test_what_does_not_fit_together_is_not_measured() -> None:
    """Two rows of pixels at once, and steps of one row."""
    chain = Chain(6, 5, 24, (Stage("conv", 6, 5, 40, (3, 3), padding=ONE),))
    default = ChainTiles(6, 6, "rows", (ConvTile(1, 5, 32, 16),))
    tall, low = replace(default, stages=(ConvTile(2, 5, 32, 16),)), replace(default, strip=1, band=1)
    assert finalists(chain, V4, default, {tall: 0.8, low: 0.9}, {0: [tall], 1: [low]}) == [tall, low]


def test_the_summary() -> None:
    found = Found("k1_a", ("k2_a",), "", 10**6, 100.0, 22.0, 20.0, 20.5, 19.0, 19.5, 9, "a", "b")
    assert found.cells() == ("k1 k2", "20.0", "100.0%", "22.0", "+10.0%", "19.0", "1.053", "b")
    assert summary([found]) == (
        "default / best 1.053 in the median, 1.053 at worst; predictions off by 10.0% in the median, 10.0% at worst"
    )
    assert summary([]) == "no kernel has tiles to choose"


def test_a_network_is_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results, lines = tmp_path / "tiles.json", tmp_path / "lines.jsonl"
    words = ["bench.tiles", str(TINY), "--json", str(results), "--candidates", str(lines)]
    monkeypatch.setattr(sys, "argv", [*words, "--most", "1", "--seconds", "0.001", "--workers", "1", "--kernel", "k00"])
    assert tiles.main() == 0
    (content,) = json.loads(results.read_text(encoding="utf-8")).values()
    (kernel,) = content["kernels"]
    assert kernel["kernel"].startswith("k00") and min(kernel[k] for k in ("default", "best", "predicted", "peak")) > 0
    assert {json.loads(line)["tiles"] for line in lines.read_text(encoding="utf-8").splitlines()} >= {
        kernel["default_tiles"],
        kernel["best_tiles"],
    }
    assert "default / best" in capsys.readouterr().out
    monkeypatch.setattr(tiles, "search", lambda *_: pytest.fail("measured again"))
    assert tiles.main() == 0


def test_what_does_not_exist(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.tiles", "mobilenet_v1", "--target", "hamster"])
    assert guarded(tiles.main) == 2
    assert "hamster" in capsys.readouterr().err
