"""Measures mncc beside other engines, writes bench/results/NETWORK.json, draws bench/results/peers.svg from them, and
prints the tables of the README.

    python -m bench.peers                         the three networks of the first table, in less than three minutes
    python -m bench.peers --all                   every network of networks.toml, in less than half an hour
    python -m bench.peers shufflenet_v1 resnet50  some: by their names, or all that are made from an example
    python -m bench.peers --table                 only the tables, from the results that are there
    python -m bench.peers --readme                puts the table of all networks into README.md, from those results, and
                                                  draws docs/peers.svg, which README.md shows

A network whose engines are not all installed is measured with those that are. Quiet machines give better numbers: the
processes are pinned, so a neighbour on the same core is measured along.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.peers.cases import Case, choose, load_cases
from bench.peers.plot import picture
from bench.peers.table import Results, markdown, overview, with_overview
from mncc.language.diagnostic import DiagnosticError, OutsideError
from mncc.report.console import say, say_diagnostics
from mncc.report.failures import guarded
from mncc.report.progress import Progress
from mncc.verbs.bench import bench
from mncc.verbs.job import prepare

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "peers.svg"
PYTHON = Path(__file__).parent / ".venv" / "bin" / "python"
ENGINES = ("litert", "openvino", "onnxruntime", "ncnn")
SECONDS, SECONDS_OF_MANY = 3.0, 1.0
"""How long an engine is measured at a number of threads, in the first table and in the second; slow ones have their
15 rounds however long they take."""


def main() -> int:
    """The program; answers its exit status: 1 where a network could not be measured."""
    options = _options()
    os.environ["MNCC_TUNED"] = "off"  # what somebody tuned on this machine alone is not what others get
    cases = load_cases()
    if not (options.table or options.readme):
        chosen = cases if options.all else choose(cases, options.names)
        chosen = chosen or tuple(case for case in cases if case.detailed)
        options.results.mkdir(parents=True, exist_ok=True)
        done = [measure(case, options.seconds, options.peer_python, options.results) for case in chosen]
    else:
        done = []
    results = {case.name: found for case in cases if (found := _read(options.results / f"{case.name}.json"))}
    second = overview(results, {case.name: case.title for case in cases})
    if options.readme:
        README.write_text(with_overview(README.read_text(encoding="utf-8"), second), encoding="utf-8")
    if options.readme or not options.table:
        draw(results, cases, PICTURE if options.readme else options.results / PICTURE.name)
    detailed = {case.name: results[case.name] for case in cases if case.detailed and case.name in results}
    first = [markdown(detailed)] if detailed or not results else []
    print("\n\n".join([*first, *([second] if len(results) > len(detailed) else [])]))
    return 0 if all(done) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NETWORK", help="a name or an example of networks.toml")
    parser.add_argument("--all", action="store_true", help="every network of networks.toml")
    parser.add_argument("--seconds", type=float, help="an engine and number of threads")
    parser.add_argument("--peer-python", type=Path, default=PYTHON, help="the Python that has the engines")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder that is written")
    parser.add_argument("--table", action="store_true", help="print the tables of the results that are there")
    parser.add_argument("--readme", action="store_true", help="write the second table into README.md, and its picture")
    return parser.parse_args()


def _read(file: Path) -> dict[str, Any] | None:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def draw(results: Results, cases: Iterable[Case], file: Path) -> None:
    """Writes the picture of the results to the file; leaves the file as it is where matplotlib is missing, which is
    said, and where there is nothing to draw."""
    try:
        drawn = picture(results, {case.name: case.title for case in cases if case.pictured})
    except ModuleNotFoundError as error:
        message = f"warning: {file.name} is not drawn: {error.name} is not installed"
        say(message, "pip install -e '.[bench]' installs it")
        return
    if drawn:
        file.write_text(drawn, encoding="utf-8")
        say(f"drawn: {file}")


def measure(case: Case, seconds: float | None, python: Path, results: Path) -> bool:
    """One network beside all engines; writes its file. False, with the reason said, where mncc itself cannot."""
    say(f"{case.name}:")
    if not python.exists():
        say(f"warning: no engines are installed: {python} is missing", "`make bench` installs them")
    engines = (*ENGINES, "torch") if case.detailed else ENGINES
    seconds = seconds or (SECONDS if case.detailed else SECONDS_OF_MANY)
    try:
        job = prepare(ROOT / "examples" / f"{case.example}.mn", case.settings, weights=case.weights())
        with Progress() as progress:
            report = bench(job, case.detailed or (1,), engines, False, progress, seconds, python)
    except DiagnosticError as error:
        say_diagnostics(error.diagnostics)
        return False
    except OutsideError as error:
        say(f"error: {error.message}", error.help)
        return False
    content = {"measured": time.strftime("%Y-%m-%d"), **json.loads(report.json())}
    (results / f"{case.name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return True


if __name__ == "__main__":
    sys.exit(guarded(main))
