"""Other engines on the emulated machine: the same network, weights and input, and their instructions a run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mncc.devices.counting import Count, count_program
from mncc.devices.executed import CLASSES
from mncc.kernels.target import Target
from mncc.language.diagnostic import OutsideError
from mncc.peers import ENGINES, Handover, PeerError
from mncc.peers.process import WORKER

HERE = Path(__file__).parent
MACHINE = HERE / "machine"
"""What machine.sh makes."""
NAMES = ("onnxruntime", "ncnn", "litert")
_ONCE, _TWICE = 1, 2
"""engine.py's mark tags, behind one run and behind two."""


@dataclass(frozen=True)
class EngineCount:
    """One engine's instructions a run. `difference` is the largest one from mncc's outputs, as a share of their largest
    element."""

    engine: str
    version: str
    count: Count
    difference: float


def require_machine(machine: Path = MACHINE) -> None:
    """Raises OutsideError where machine.sh was not run, or not to its end."""
    if not (machine / "complete").exists():
        raise OutsideError("the emulated machine has no Python yet", "run bench/arm64/machine.sh (on Debian, once)")


def count_engine(name: str, files: Handover, target: Target, machine: Path = MACHINE) -> EngineCount:
    """Counts an engine on one thread of the target's emulated CPU. Raises PeerError where it cannot have the network,
    fails or computes something else."""
    engine = ENGINES[name]
    folder = files.folder(engine, 1)
    job = {
        "worker": str(WORKER.parent),
        "engine": name,
        "package": engine.package,
        "model": str(files.model(engine.form)),
        "inputs": [str(file) for file in files.inputs(engine.channels_first)],
        "folder": str(folder),
        "threads": 1,
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    variables = (f"PYTHONPATH={machine / 'engines'}", "PYTHONDONTWRITEBYTECODE=1", "OMP_NUM_THREADS=1")
    options = ["-L", str(machine / "root"), *(word for variable in variables for word in ("-E", variable))]
    command = [str(machine / "root" / "usr/bin/python3"), str(HERE / "engine.py"), str(folder / "job.json")]
    try:
        executed, said = count_program(command, target, options)
        answer = json.loads(said)
    except (OutsideError, ValueError) as error:
        raise PeerError(f"fails under emulation: {error}") from error
    difference = files.difference(engine, [Path(file) for file in answer["outputs"]])
    once, twice = executed.classes(_ONCE), executed.classes(_TWICE)
    classes = {kind: twice[kind] - once[kind] for kind in CLASSES}
    return EngineCount(name, answer["version"], Count(sum(classes.values()), classes), difference)
