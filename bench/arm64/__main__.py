"""Counts the instructions of mncc's arm64 libraries and of other engines under the same emulation, and prints the
tables of docs/arm64.md. These are instructions, not times.

    bench/arm64/machine.sh                         once: the emulated machine's Python and engines
    python -m bench.arm64                          the networks of the first table, then the loops of one of them in
                                                   llvm-mca; some minutes
    python -m bench.arm64 mobilenet_v2_1.0_224     one of bench/peers/networks.toml, without the loops
    python -m bench.arm64 --own                    mncc and the loops; of the others the counts that are there
    python -m bench.arm64 --loops                  only the loops
    python -m bench.arm64 --table                  only the tables, from bench/results/arm64_*.json
    python -m bench.arm64 --docs                   also puts them into docs/arm64.md and README.md
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.arm64.engines import NAMES, EngineCount, count_engine, require_machine
from bench.arm64.mca import find_tool
from bench.arm64.model import model
from bench.arm64.table import loops_markdown, markdown, with_tables
from bench.peers.cases import Case, choose, load_cases
from mncc.devices.counting import LibraryCount, count_library, emulator_version, find_emulator
from mncc.library.write import write_library
from mncc.peers import Handover, PeerError
from mncc.report.console import say, warn
from mncc.report.failures import UsageError, guarded
from mncc.report.progress import Progress
from mncc.verbs.cache import compiled
from mncc.verbs.inputs import random_inputs
from mncc.verbs.job import Job, prepare

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"
PAGES = {ROOT / "docs" / "arm64.md": {"instructions", "loops"}, ROOT / "README.md": {"instructions"}}
TARGET = "arm64-cortex-a76"
MODELLED, LOOPS = "mobilenet_v2_1.0_224", "arm64_loops.json"


def main() -> int:
    """The program; answers its exit status."""
    options = _options()
    os.environ["MNCC_TUNED"] = "off"  # what somebody tuned on this machine alone is not what others get
    cases = load_cases()
    chosen = choose(cases, options.names) if options.names else tuple(case for case in cases if case.detailed)
    modelled = options.loops or not (options.table or options.names)
    if modelled:
        find_tool()  # before the minutes that the networks take
    if not (options.table or options.loops):
        if not options.own:
            require_machine()
        for case in chosen:
            file = options.results / f"arm64_{case.name}.json"
            _write(file, measure(case, options.target, _read(file) if options.own else None))
    if modelled:
        (case,) = choose(cases, [MODELLED])
        _write(options.results / LOOPS, model(case, ROOT / "examples"))
    results = {case.title: found for case in cases if (found := _read(options.results / f"arm64_{case.name}.json"))}
    loops = _read(options.results / LOOPS)
    tables = {"instructions": markdown(results, loops), **({"loops": loops_markdown(loops)} if loops else {})}
    if options.docs:
        write_pages(tables)
    print("\n\n".join(tables.values()))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.arm64", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NETWORK", help="a name or an example of networks.toml")
    parser.add_argument("--target", default=TARGET, help="what mncc builds for; its CPU is emulated for all")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder that is written")
    parser.add_argument("--own", action="store_true", help="count mncc only, and keep the counts of the others")
    parser.add_argument("--loops", action="store_true", help="only the loops, in llvm-mca")
    parser.add_argument("--table", action="store_true", help="print the tables of the results that are there")
    parser.add_argument("--docs", action="store_true", help="write the tables into docs/arm64.md and README.md")
    return parser.parse_args()


def _read(file: Path) -> dict[str, Any] | None:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def _write(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def write_pages(tables: Mapping[str, str]) -> None:
    """Puts the tables into the documents that show them."""
    for page, names in PAGES.items():
        shown = {name: table for name, table in tables.items() if name in names}
        page.write_text(with_tables(page.read_text(encoding="utf-8"), shown), encoding="utf-8")


def measure(case: Case, target: str, kept: Mapping[str, Any] | None) -> dict[str, Any]:
    """One network: mncc's library, then every engine, compared with it, or the engines' counts of `kept`. Raises
    DiagnosticError, OutsideError, UsageError where `kept` is of something else."""
    say(f"{case.name}:")
    job = prepare(ROOT / "examples" / f"{case.example}.mn", case.settings, target, case.weights())
    inputs = random_inputs(job.network)
    with tempfile.TemporaryDirectory(prefix="mncc-arm64-") as folder, Progress() as progress:
        files = write_library(compiled(job, progress), Path(folder, "library"))
        progress("counting mncc")
        own = count_library(files.directory, job.name, job.target, inputs)
        shapes = [job.network.types[output.value].shape for output in job.network.outputs]
        expected = [array.reshape(shape) for array, shape in zip(own.outputs, shapes, strict=True)]
        given = Handover(Path(folder), job.network, job.weights.tensors, files.shared, inputs, expected)
        manifest = json.loads(files.manifest.read_text(encoding="utf-8"))
        others, missing = [], {}
        for name in NAMES if kept is None else ():
            progress(f"counting {name}")
            try:
                others.append(count_engine(name, given, job.target))
            except PeerError as error:
                missing[name] = str(error)
                warn(f"{name} is missing: {error}")
    now = content(case, job, manifest, own, others, missing)
    return now if kept is None else with_kept(now, kept)


_SAME = ("settings", "weights", "target", "cpu", "emulator", "macs")


def with_kept(now: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """mncc's counts of `now` with the other engines' of `kept`. Raises UsageError where these are of something else."""
    other = [key for key in _SAME if now[key] != kept[key]]
    if other:
        raise UsageError(f"--own: {now['network']} was counted with another {', '.join(other)}", "leave --own out")
    theirs = [found for found in kept["results"] if found["engine"] != "mncc"]
    return {**now, "results": [*now["results"], *theirs], "missing": kept["missing"]}


def content(
    case: Case,
    job: Job,
    manifest: Mapping[str, Any],
    own: LibraryCount,
    others: list[EngineCount],
    missing: Mapping[str, str],
) -> dict[str, Any]:
    """What is kept of one network."""
    counts = [EngineCount("mncc", manifest["versions"]["mncc"], own.whole, 0.0), *others]
    return {
        "measured": time.strftime("%Y-%m-%d"),
        "network": case.name,
        "settings": dict(job.network.settings),
        "weights": job.weights.source,
        "target": job.target.name,
        "cpu": job.target.emulated,
        "emulator": f"qemu-user {emulator_version(find_emulator(job.target))}",
        "macs": job.network.macs,
        "lanes": job.target.lanes,
        "results": [
            {
                "engine": each.engine,
                "version": each.version,
                "instructions": each.count.total,
                "classes": each.count.classes,
                "difference": each.difference,
            }
            for each in counts
        ],
        "missing": [{"engine": engine, "reason": reason} for engine, reason in missing.items()],
        "kernels": [
            {"name": entry["name"], "rows": entry["rows"], "macs": entry["macs"], "instructions": count.total}
            for entry, count in zip(manifest["kernels"], own.kernels, strict=True)
        ],
    }


if __name__ == "__main__":
    sys.exit(guarded(main))
