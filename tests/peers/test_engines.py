"""Real engines and the worker, as far as they are installed; engines that are not, or that compute something else."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from mncc.elaborate import load
from mncc.peers import ENGINES, Handover, PeerError, rounds
from mncc.reference import Twin
from mncc.reference.eager import eager
from mncc.report.progress import Progress
from mncc.verbs.bench import bench
from mncc.verbs.inputs import random_inputs
from mncc.verbs.job import prepare
from mncc.weights import load_weights

TINY = Path(__file__).resolve().parents[2] / "docs" / "tiny.mn"
EXAMPLES = TINY.parents[1] / "examples"


def test_eager_torch_computes_the_network() -> None:
    network = load(EXAMPLES / "mobilenet_v1.mn", {"width": "0.25", "resolution": "64"})
    weights, inputs = load_weights(network, "random:1"), random_inputs(network)
    again = eager(network, weights.tensors, inputs, 1)
    again()
    expected = Twin(network, weights).run(inputs)
    for output, got in zip(network.outputs, again(), strict=True):
        wanted = expected[output.value]
        assert np.abs(got - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_installed_and_missing_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "MOST_ROUNDS", 2)
    report = bench(prepare(TINY, {}), (1, 2), tuple(ENGINES), False, Progress())
    measured = {(timing.engine, timing.threads): timing for timing in report.results}
    missing = dict(report.missing)
    for engine in ENGINES.values():
        modules = {"litert": "ai_edge_litert"}
        if find_spec(modules.get(engine.name, engine.name)):
            assert {(engine.name, 1), (engine.name, 2)} <= set(measured)
            assert measured[engine.name, 2].version and measured[engine.name, 2].difference < 1e-4
        else:
            assert "pip install" in missing[engine.name]
    assert set(missing) | {engine for engine, _ in measured} == set(ENGINES)


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(rounds, "MOST_ROUNDS", 1)
    monkeypatch.setattr(rounds, "LEAST_ROUNDS", 1)
    job = prepare(TINY, {})
    report = bench(job, (1,), ("onnxruntime", "hamster"), False, Progress(), peer_python=Path("/no/python"))
    content = json.loads(report.json())
    assert [timing["engine"] for timing in content["results"]] == ["mncc"]
    assert {"version", "difference", "runs"} <= set(content["results"][0])
    assert content["weights"] == "random:0" and content["settings"]["width"] == 1.0
    assert content["machine"]["cpus"] >= 1
    reasons = {missing["engine"]: missing["reason"] for missing in content["missing"]}
    assert reasons["onnxruntime"].startswith("/no/python cannot be started")
    assert "mncc bench knows" in reasons["hamster"]
    assert capsys.readouterr().err.count("warning: ") == 2


def test_other_outputs_are_refused(tmp_path: Path) -> None:
    network = load(TINY, {})
    expected = np.arange(10, dtype=np.float32)[None]
    files = Handover(tmp_path, network, {}, tmp_path, [], [expected])
    file = tmp_path / "output0.npy"

    def difference(array: np.ndarray) -> float:
        np.save(file, array)
        return files.difference(ENGINES["onnxruntime"], [file])

    assert difference(expected) == 0
    assert difference(expected + np.float32(1e-4)) == pytest.approx(1e-4 / 9, rel=1e-2)
    for wrong, reason in (
        (expected + np.float32(0.1), "computes something else: .* differs by 1.1e-02"),
        (np.full_like(expected, np.nan), "differs by nan"),
        (expected[:, :5], r"of shape \(1, 5\) instead of \(1, 10\)"),
    ):
        with pytest.raises(PeerError, match=reason):
            difference(wrong)
    with pytest.raises(PeerError, match="makes 0 outputs instead of 1"):
        files.difference(ENGINES["onnxruntime"], [])
