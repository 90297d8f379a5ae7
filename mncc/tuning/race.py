"""One start of the program on a device: a candidate checked, and then raced against the reference, or counted."""

from __future__ import annotations

import signal
import statistics
from dataclasses import dataclass
from pathlib import Path

from mncc.devices.counting import require_plugin
from mncc.devices.device import Finished, Session, require_success, signal_of
from mncc.devices.executed import read_executed
from mncc.kernels.target import Target
from mncc.language.diagnostic import OutsideError
from mncc.tuning.program import PROGRAM
from mncc.tuning.task import Failure

COUNTED = 1
"""The mark tag of harness.c's counted run."""
EXECUTED = "executed.txt"
"""What the counting plugin writes into the session's folder."""
_PATIENCE, _GRACE = 4.0, 60.0
"""After so many times the program's own limit, and so many seconds, the device is taken for lost: CPU time passes more
slowly than the clock where others compute too, and a virtual machine may stand still for a minute."""
_ENDED_BY_OTHERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Limits:
    """How long things may take. Rounds: at least `least`, at most `most`, and between them until `seconds` of CPU time
    have passed; no more than `least` for a candidate that takes `slower` times as long as the reference."""

    build: float = 300.0
    run: float = 20.0
    """Seconds of CPU time until a candidate that does not end is given up."""
    least: int = 9
    most: int = 200
    seconds: float = 0.3
    slower: float = 1.25


@dataclass(frozen=True)
class Raced:
    """What a race measured: the candidate's time by the reference's of every round, and the reference's median in
    seconds."""

    ratios: tuple[float, ...]
    reference: float

    @property
    def ratio(self) -> float:
        """Of both times: the median, which what disturbs fewer than half of the rounds cannot move far.

        Four kernels of MobileNetV2, each raced 15 times where every core had four processes to run: against itself,
        medians of a kernel's ratios had a standard deviation of 0.02 to 0.1 %, ratios of medians 0.02 to 0.3 %, of
        least times 0.01 to 0.05 %; against other tiles 0.04 to 0.6 %, 0.04 to 0.5 %, and 0.05 to 1.2 %."""
        return statistics.median(self.ratios)


def race(session: Session, number: int, device: str, target: Target, limits: Limits) -> Raced | Failure:
    """Races candidate `number` of the program that was sent. Raises OutsideError where the device fails."""
    rounds = (limits.least, limits.most, round(1e9 * limits.seconds), limits.slower)
    lines = _run(session, [number, round(limits.run), *rounds], device, target, limits)
    if isinstance(lines, Failure):
        return lines
    rounds_seen = [tuple(map(int, line.split()[1:])) for line in lines if line.startswith("round ")]
    if not rounds_seen:
        return Failure("crash", "the program measured nothing")
    ratios = tuple(candidate / max(reference, 1) for reference, candidate in rounds_seen)
    return Raced(ratios, 1e-9 * max(statistics.median(reference for reference, _ in rounds_seen), 1.0))


def count(session: Session, number: int, device: str, target: Target, limits: Limits, folder: Path) -> int | Failure:
    """The instructions of one run of a candidate, in an emulator with the counting plugin, whose answer is read in
    `folder`. Raises OutsideError where the emulator fails."""
    lines = _run(session, [number, round(limits.run), "count"], device, target, limits)
    if isinstance(lines, Failure):
        return lines
    answer = folder / EXECUTED
    try:
        session.fetch(EXECUTED, answer)
        return read_executed(answer.read_text(encoding="utf-8")).total(COUNTED)
    except (OSError, ValueError) as error:
        raise OutsideError(f"{device} left no complete count: {error}", "try again") from error


def _run(session: Session, words: list[object], device: str, target: Target, limits: Limits) -> list[str] | Failure:
    """The lines that the program wrote, of a candidate that computes what it shall."""
    finished = session.run(PROGRAM, [str(word) for word in words], _PATIENCE * limits.run + _GRACE)
    if failure := _failure(finished, device, target, limits):
        return failure
    lines = finished.out.split("\n")
    if "end" not in lines:
        raise OutsideError(f"{device}: what the program wrote has no end", "try again")
    return _wrong(lines) if "wrong" in lines else lines


def _failure(finished: Finished, device: str, target: Target, limits: Limits) -> Failure | None:
    """Why a program did not end well. Raises OutsideError where that is nothing of its own."""
    number = signal_of(finished)
    if number == signal.SIGPROF:
        return Failure("hang", f"it did not end within {limits.run:.0f} s of CPU time")
    try:
        require_plugin(finished, device)
        require_success(finished, device, target)
    except OutsideError as error:
        if number in _ENDED_BY_OTHERS:
            raise
        return Failure("crash", f"{error.message}\n{error.help}" if number == signal.SIGILL else error.message)
    return None


def _wrong(lines: list[str]) -> Failure:
    largest, past, outside = next(line.split()[1:] for line in lines if line.startswith("error "))
    what = f"its largest error is {largest} of the largest element, and {float(past):.1%} of the errors are too large"
    if outside != "0":
        what += f"; it wrote {outside} elements or bytes that are not its own"
    return Failure("wrong", what)
