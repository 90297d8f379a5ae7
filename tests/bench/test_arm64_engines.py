"""Other engines under emulation, without any: the program that runs them, and what is made of its counts."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.arm64 import engines
from bench.arm64.__main__ import RESULTS, ROOT
from bench.peers.cases import choose, load_cases
from mncc.devices.executed import Block, Executed
from mncc.kernels.target import Target, load_target
from mncc.language.diagnostic import OutsideError
from mncc.peers import PeerError
from mncc.report.progress import Progress
from mncc.verbs.instructions import count_instructions
from mncc.verbs.job import prepare

WORKER = """
from pathlib import Path
import numpy as np

class Session:
    def __init__(self, inputs):
        self.inputs, self.runs = inputs, 0
    def run(self):
        self.runs += 1
        print("engines print what they like")
    def outputs(self):
        return [self.inputs[0] + self.runs]

OPEN = {"toy": lambda model, inputs, threads, folder: Session(inputs)}
"""


def test_an_engine_runs_four_times_and_leaves_its_outputs(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(WORKER, encoding="utf-8")
    np.save(tmp_path / "input.npy", np.ones(3, np.float32))
    job = {"worker": str(tmp_path), "engine": "toy", "package": "numpy", "model": "", "threads": 1}
    job |= {"inputs": [str(tmp_path / "input.npy")], "folder": str(tmp_path)}
    (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
    command = [sys.executable, str(engines.HERE / "engine.py"), str(tmp_path / "job.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert answer["version"] == np.__version__
    np.testing.assert_array_equal(np.load(answer["outputs"][0]), np.full(3, 5, np.float32))


class Files:
    """A Handover of nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder(self, engine: Any, threads: int) -> Path:
        return self._folder

    def model(self, form: str) -> Path:
        return self._folder / form

    def inputs(self, channels_first: bool) -> tuple[Path, ...]:
        return (self._folder / f"first-{channels_first}",)

    def difference(self, engine: Any, files: Sequence[Path]) -> float:
        return 1e-6 if files == [Path("out.npy")] else 1.0


def test_what_two_runs_take_more_than_one_is_a_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def count_program(command: Sequence[str], target: Target, options: Sequence[str]) -> tuple[Executed, str]:
        asked.update(json.loads(Path(command[-1]).read_text(encoding="utf-8")), options=options)
        blocks = (
            Block(((0, "fmla v0.4s, v1.4s, v2.4s"), (4, "b #0x0")), {0: 999, 1: 100, 2: 200}),
            Block(((8, "ldr x0, [x1]"),), {1: 7, 2: 7}),  # once a mark
        )
        return Executed({0: 1, 1: 1, 2: 1}, blocks), '{"version": "1.2", "outputs": ["out.npy"]}'

    monkeypatch.setattr(engines, "count_program", count_program)
    found = engines.count_engine("ncnn", Files(tmp_path), load_target("arm64-cortex-a76"), tmp_path)  # type: ignore[arg-type]
    assert (found.engine, found.version, found.difference) == ("ncnn", "1.2", 1e-6)
    assert found.count.total == 200
    assert found.count.classes == {"multiply": 100, "vector": 0, "load": 0, "store": 0, "other": 100}
    assert asked["model"].endswith("ncnn") and asked["inputs"][0].endswith("first-True") and asked["threads"] == 1
    assert "OMP_NUM_THREADS=1" in asked["options"]


def test_an_engine_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def count_program(*_: object) -> tuple[Executed, str]:
        raise OutsideError("no such module")

    monkeypatch.setattr(engines, "count_program", count_program)
    with pytest.raises(PeerError, match="fails under emulation: no such module"):
        engines.count_engine("ncnn", Files(tmp_path), load_target("arm64-cortex-a76"), tmp_path)  # type: ignore[arg-type]


@pytest.mark.full
@pytest.mark.skipif(
    not (shutil.which("qemu-aarch64") and shutil.which("aarch64-linux-gnu-gcc")),
    reason="needs qemu-user and the aarch64 cross compiler",
)
@pytest.mark.parametrize(
    ("name", "most"), [("mobilenet_v1_1.0_224", 1.22), ("mobilenet_v2_1.0_224", 1.35), ("mobilenet_v2_0.35_96", 1.6)]
)
def test_mncc_takes_fewer_instructions_than_the_others(name: str, most: float) -> None:
    kept = json.loads((RESULTS / f"arm64_{name}.json").read_text(encoding="utf-8"))
    (case,) = choose(load_cases(), [name])
    with Progress() as progress:
        job = prepare(ROOT / "examples" / f"{case.example}.mn", case.settings, kept["target"])
        counted = count_instructions(job, (1,), (), False, progress).whole
    assert counted.bare == kept["macs"] / kept["lanes"]
    assert counted.instructions <= most * counted.bare
    others = {found["engine"]: found["instructions"] for found in kept["results"] if found["engine"] != "mncc"}
    assert {"onnxruntime", "ncnn"} <= set(others)
    assert counted.instructions < min(others.values())


def test_a_machine_that_was_not_made_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match="has no Python yet") as error:
        engines.require_machine(tmp_path)
    assert "machine.sh" in str(error.value.help)
