"""Compares the libraries that two commits build, run in turn, so that a regression can be found.

    python -m bench.compare A B                      the three networks of the README's first table
    python -m bench.compare main HEAD shufflenet_v1  some of networks.toml: by their names, or all made from an example

A and B are what git calls commits. Each is checked out into a temporary worktree, and its own mncc builds its own
examples there, both with the same random weights. The libraries run in pinned processes of this checkout's
`mncc bench`, one thread by CPU time, several by the wall clock. What only the working tree has is not measured.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.peers.cases import Case, choose, load_cases
from mncc.devices.loaded import Library
from mncc.devices.peak import PeakMeter
from mncc.language.diagnostic import OutsideError
from mncc.network.graph import Network
from mncc.peers import ENGINES, Contestant, Handover, PeerError, enter, measure
from mncc.report.console import say, show
from mncc.report.failures import guarded
from mncc.report.progress import Progress
from mncc.report.table import table
from mncc.verbs.bench import random_inputs
from mncc.verbs.job import RANDOM_WEIGHTS, load_network
from mncc.weights import Weights, load_weights
from mncc.weights.save import save_weights

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 3.0
"""How long each library is measured."""


@dataclass(frozen=True)
class Comparison:
    """Seconds of every run of both libraries, and what their outputs differ by."""

    name: str
    a: tuple[float, ...]
    b: tuple[float, ...]
    difference: float | None
    """As a share of the largest element of an output; None where the bits are the same."""

    def cells(self) -> tuple[str, ...]:
        """A row of the table; ratios are B's by A's, below 1 where B is faster."""
        numbers = [1e3 * of(times) for of in (statistics.median, min) for times in (self.a, self.b)]
        ratios = [numbers[1] / numbers[0], numbers[3] / numbers[2]]
        agree = "same bits" if self.difference is None else f"{self.difference:.0e}"
        return (
            self.name,
            *(f"{n:.3f}" for n in numbers[:2]),
            f"{ratios[0]:.3f}",
            *(f"{n:.3f}" for n in numbers[2:]),
            f"{ratios[1]:.3f}",
            agree,
        )


COLUMNS = ("network", ">A median ms", ">B median ms", ">B / A", ">A min ms", ">B min ms", ">B / A", ">outputs differ")


def main() -> int:
    """The program; answers its exit status. Raises DiagnosticError, OutsideError, UsageError."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("a", metavar="A", help="a commit")
    parser.add_argument("b", metavar="B", help="another one")
    parser.add_argument("names", nargs="*", metavar="NETWORK", help="a name or an example of networks.toml")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="a library")
    options = parser.parse_args()
    os.environ["MNCC_TUNED"] = "off"  # what somebody tuned on this machine alone is not what others get
    cases = load_cases()
    chosen = choose(cases, options.names) or tuple(case for case in cases if case.detailed)
    with tempfile.TemporaryDirectory(prefix="mncc-compare-") as folder, ExitStack() as stack:
        trees = [
            stack.enter_context(checked_out(commit, Path(folder, side)))
            for side, commit in (("a", options.a), ("b", options.b))
        ]
        rows = [_case(case, trees, Path(folder, case.name), options).cells() for case in chosen]
    title = f"A = {options.a}, B = {options.b}, {options.threads} thread{'s' if options.threads > 1 else ''}"
    show(table(title, COLUMNS, rows))
    return 0


@contextmanager
def checked_out(commit: str, folder: Path, repository: Path = ROOT) -> Iterator[Path]:
    """A worktree of the commit at `folder`, gone afterwards. Raises OutsideError where there is no such commit."""
    _run(["git", "worktree", "add", "--detach", "--force", str(folder), commit], repository)
    try:
        yield folder
    finally:
        _run(["git", "worktree", "remove", "--force", str(folder)], repository)


def _case(case: Case, trees: Sequence[Path], folder: Path, options: argparse.Namespace) -> Comparison:
    """One network built by both commits, and measured."""
    example = f"examples/{case.example}.mn"
    network = load_network(ROOT / example, case.settings)
    weights = load_weights(network, RANDOM_WEIGHTS)
    folder.mkdir()
    file = folder / "weights.safetensors"
    save_weights(weights, file)
    libraries = []
    for tree, side in zip(trees, "ab", strict=True):
        say(f"building {case.name} with {(options.a, options.b)[len(libraries)]}")
        command = [sys.executable, "-m", "mncc", "build", example, "--weights", str(file), "-o", str(folder / side)]
        for name, value in case.settings.items():
            command += ["--set", f"{name}={value}"]
        _run(command, tree, {"PYTHONPATH": str(tree), "MNCC_CACHE": "off"})
        libraries.append(Library(folder / side).path)
    with Progress() as progress:
        return compare(case.name, network, weights, libraries, options.threads, options.seconds, progress)


def compare(
    name: str,
    network: Network,
    weights: Weights,
    libraries: Sequence[Path],
    threads: int,
    seconds: float,
    progress: Progress,
) -> Comparison:
    """Two libNAME.so of one network in turn, in a pinned process each. Raises OutsideError."""
    inputs = random_inputs(network)
    outputs = [Library(path).run(*inputs) for path in libraries]

    def lost(contestant: Contestant, error: PeerError) -> None:
        raise OutsideError(f"a library of {name} cannot be measured: {error}") from error

    with tempfile.TemporaryDirectory(prefix="mncc-compare-") as folder, PeakMeter() as meter, ExitStack() as stack:
        sides = []
        for number, (path, expected) in enumerate(zip(libraries, outputs, strict=True)):
            own = Path(folder, str(number))
            own.mkdir()
            files = Handover(own, network, weights.tensors, path, inputs, expected)
            try:
                sides.append(enter(stack, ENGINES["mncc"], threads, files))
            except PeerError as error:
                raise OutsideError(f"a library of {name} cannot be measured: {error}") from error
        measure(sides, meter, (), seconds, progress, lost)
    return Comparison(name, tuple(sides[0].seconds), tuple(sides[1].seconds), difference(*outputs))


def difference(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float | None:
    """The largest difference of an output, as a share of its largest element; None where all bits are the same.
    Infinity where the shapes are others."""
    if [x.shape for x in a] != [y.shape for y in b]:
        return float("inf")
    if all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True)):
        return None
    tiny = np.finfo(np.float32).tiny
    return max(float(np.abs(x - y).max() / max(np.abs(x).max(), tiny)) for x, y in zip(a, b, strict=True))


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
    """Raises OutsideError with the last line that the command said."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise OutsideError(f"`{' '.join(command[:4])} ...` failed in {folder.name}:\n{said}")


if __name__ == "__main__":
    sys.exit(guarded(main))
