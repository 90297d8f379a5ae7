"""Measures a C process that runs a network once: its memory, and how long its first result takes.

    python -m bench.process                      MobileNetV2 1.0-224, the numbers of the README
    python -m bench.process mobilenet_v1_1.0_224  another one of networks.toml
    python -m bench.process --runs 50

The program (process.c) is linked with the archive and with the shared library. Both run in turn, pinned to one CPU and
with the weights in the page cache; bench/results/process.json gets medians and minima. Time counts from before the
process is started.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from bench.peers.cases import Case, choose, load_cases
from mncc.language.diagnostic import OutsideError
from mncc.library.toolchain import find_toolchain
from mncc.library.write import LibraryFiles, write_library
from mncc.peers.process import choose_cpus, pinned
from mncc.report.console import show
from mncc.report.failures import guarded
from mncc.report.machine import this_machine
from mncc.report.progress import Progress
from mncc.report.table import table
from mncc.verbs.cache import compiled
from mncc.verbs.job import prepare

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
SOURCE = Path(__file__).with_name("process.c")
RUNS = 25
UNTIMED = 3
"""Runs of each program before the others: they bring it into the page cache."""

COLUMNS = {
    "peak_mb": "peak resident MB",
    "first_wall_ms": "first result ms",
    "first_cpu_ms": "CPU ms",
    "main_wall_ms": "of these before main ms",
    "main_cpu_ms": "CPU ms",
    "again_ms": "a second run ms",
    "faults": "page faults",
}


def main() -> int:
    """The program; answers its exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.process", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("name", nargs="?", default="mobilenet_v2_1.0_224", help="of networks.toml")
    parser.add_argument("--runs", type=int, default=RUNS, help="of each program")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder that is written")
    options = parser.parse_args()
    os.environ["MNCC_TUNED"] = "off"  # what somebody tuned on this machine alone is not what others get
    case = next(case for case in choose(load_cases(), [options.name]) if options.name in (case.name, case.example))
    job = prepare(ROOT / "examples" / f"{case.example}.mn", case.settings, weights=case.weights())
    with tempfile.TemporaryDirectory(prefix="mncc-process-") as folder:
        with Progress() as progress:
            files = write_library(compiled(job, progress), Path(folder, "library"))
        found = measure(link(files, job.name, Path(folder)), options.runs)
    _write(options.results / "process.json", case, job.weights.source, options.runs, found)
    rows = [
        (name, of, *(f"{numbers[key]:.2f}".removesuffix(".00") for key in COLUMNS))
        for name, both in found.items()
        for of, numbers in both.items()
    ]
    columns = ("linked with", "", *(f">{column}" for column in COLUMNS.values()))
    show(table(f"{case.title}, one run of a C process", columns, rows))
    return 0


def link(files: LibraryFiles, name: str, folder: Path) -> dict[str, Path]:
    """process.c with the archive and with the shared library. Raises OutsideError."""
    toolchain = find_toolchain(f"{os.uname().machine}-linux-gnu")
    words = (f'-DHEADER="{files.header.name}"', f"-DNETWORK={name}", f"-DWORDS={name.upper()}")
    shared = (f"-L{files.directory}", f"-l{name}", f"-Wl,-rpath,{files.directory}")
    programs = {}
    for kind, library in {"archive": (str(files.static), "-pthread", "-lm"), "shared library": shared}.items():
        programs[kind] = folder / kind.split()[0]
        flags = ["-std=c11", "-O2", *words, f"-I{files.directory}", str(SOURCE), *library, "-o", str(programs[kind])]
        toolchain.compile("linking the program", flags, folder)
    return programs


def measure(programs: Mapping[str, Path], runs: int) -> dict[str, dict[str, dict[str, float]]]:
    """Each program's medians and minima by the keys of COLUMNS. Raises OutsideError where one fails."""
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
    with pinned(choose_cpus(1)):
        for number in range(UNTIMED + runs):
            for name, program in programs.items():
                once = run_once(program)
                if number >= UNTIMED:
                    seen[name].append(once)
    return {
        name: {
            word: {key: round(of([once[key] for once in several]), 3) for key in COLUMNS}
            for word, of in {"median": statistics.median, "min": min}.items()
        }
        for name, several in seen.items()
    }


def run_once(program: Path) -> dict[str, float]:
    """One process, from before it is started on. Megabytes are 10^6 bytes."""
    began = time.monotonic_ns()
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OutsideError(f"{program.name} ended with status {done.returncode}: {done.stderr.strip()}")
    main_ns, first_ns, main_cpu, first_cpu, again, faults, peak_kib = (int(word) for word in done.stdout.split())
    return {
        "peak_mb": peak_kib * 1024e-6,
        "first_wall_ms": 1e-6 * (first_ns - began),
        "first_cpu_ms": 1e-6 * first_cpu,
        "main_wall_ms": 1e-6 * (main_ns - began),
        "main_cpu_ms": 1e-6 * main_cpu,
        "again_ms": 1e-6 * again,
        "faults": faults,
    }


def _write(file: Path, case: Case, weights: str, runs: int, found: Mapping[str, object]) -> None:
    content = {
        "measured": time.strftime("%Y-%m-%d"),
        "network": case.name,
        "weights": weights,
        "runs": runs,
        "programs": found,
        "machine": asdict(this_machine()),
    }
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(guarded(main))
