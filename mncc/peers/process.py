"""One engine in its own process, and the conversation with it (the worker's docstring has its lines)."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from mncc.peers.engines import PeerError

WORKER = Path(__file__).parent / "worker" / "worker.py"
"""The program that runs one engine."""

SECONDS_TO_PREPARE, SECONDS_TO_RUN = 180.0, 60.0
"""How long an answer may take: the first, with the engine's own compilation, and one to a few runs."""

_SECONDS_TO_END = 5.0
_READ_BYTES = 1 << 16


@dataclass(frozen=True)
class Runs:
    """Seconds of every run of a slice: of CPU time of the whole process, and of the wall clock."""

    cpu: tuple[float, ...]
    wall: tuple[float, ...]


class Process:
    """A context that holds a worker: started and ready inside of `with`, gone afterwards.

    `command` starts the worker, `job` is its first line, `log` is written with what it says on standard error, and
    `environment` is added to this process's own. Everything raises PeerError where the engine is missing, fails, dies
    or does not answer in time.
    """

    def __init__(
        self,
        command: Sequence[str],
        job: Mapping[str, Any],
        log: Path,
        environment: Mapping[str, str] | None = None,
        seconds_to_prepare: float | None = None,
    ) -> None:
        self._command, self._job, self._log = list(command), dict(job), log
        self._patience = SECONDS_TO_PREPARE if seconds_to_prepare is None else seconds_to_prepare
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self.version = ""
        self.outputs: tuple[Path, ...] = ()
        """Files of the outputs of a first run."""
        self.seconds = 0.0
        """About how long one run takes."""

    def __enter__(self) -> Process:
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    self._command,
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=self._environment,
                )
        except OSError as error:
            raise PeerError(f"{self._command[0]} cannot be started: {error.strerror}") from error
        try:
            ready = self._ask(self._job, self._patience)
            self.version, self.seconds = str(ready["version"]), float(ready["seconds"])
            self.outputs = tuple(Path(file) for file in ready["outputs"])
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def run(self, count: int) -> Runs:
        """Runs the network once untimed, then `count` times."""
        answer = self._ask({"run": count}, SECONDS_TO_RUN + 20 * count * self.seconds)
        return Runs(tuple(answer["cpu"]), tuple(answer["wall"]))

    def close(self) -> None:
        """Ends the process: by the end of its input, and if it stays by force."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.close()
            try:
                process.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()

    def _ask(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        process = self._process
        assert process is not None and process.stdin is not None, "a Process is used inside of `with`"
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise PeerError(self._last_words()) from error
        try:
            answer = json.loads(self._line(seconds))
        except ValueError as error:
            raise PeerError("its process answers nonsense") from error
        for refusal in ("missing", "failed"):
            if refusal in answer:
                raise PeerError(_one_line(answer[refusal]))
        return dict(answer)

    def _line(self, seconds: float) -> bytes:
        """The next line of the worker."""
        assert self._process is not None and self._process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                self._process.kill()
                raise PeerError(f"no answer within {seconds:.0f} s")
            read = os.read(self._process.stdout.fileno(), _READ_BYTES)
            if not read:
                raise PeerError(self._last_words())
            self._unread += read
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _last_words(self) -> str:
        """Why the process is gone, from what it wrote on standard error or from its status."""
        assert self._process is not None
        try:
            status = self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            status = None
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        said = next((line for line in reversed(lines) if line.strip()), "")
        return _one_line(f"its process ended with status {status}" + (f": {said}" if said else ""))


@contextmanager
def pinned(cpus: Sequence[int]) -> Iterator[None]:
    """This thread, and every process that it starts inside of `with`, on these CPUs alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def choose_cpus(count: int, topology: Path = Path("/sys/devices/system/cpu")) -> tuple[int, ...]:
    """`count` of the CPUs that this process may use, first one of every core; all where there are fewer."""
    allowed = sorted(os.sched_getaffinity(0))
    cores: dict[str, int] = {}

    def turn(cpu: int) -> tuple[int, int]:
        try:
            core = (topology / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text(encoding="ascii")
        except OSError:
            core = str(cpu)
        cores[core] = cores.get(core, -1) + 1
        return cores[core], cpu

    return tuple(sorted(cpu for _, cpu in sorted(map(turn, allowed))[:count]))


def _one_line(text: str, limit: int = 300) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
