"""Devices behind a command that runs a line of a POSIX shell on another machine: ssh and adb.

While a session lasts, one such line waits there for the end of its input, then ends what still runs and removes the
session's folder. That end comes when the session is closed, but also when mncc is killed or the connection is lost.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
import tempfile
import threading
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from mncc.devices.device import Device, Finished, Session, is_full, last_words
from mncc.devices.process import run_process
from mncc.kernels.target import Target
from mncc.language.diagnostic import OutsideError
from mncc.library.toolchain import arch_of

COPY_SECONDS = 1800.0
"""After which a copy is given up."""
_CONNECT_SECONDS, _CLOSE_SECONDS = 60.0, 20.0
_FOLDER = "mncc-folder"
"""The word before the folder's name in what a new session says; a login may say more."""
_KEEPER = (
    "trap '' HUP PIPE; "
    "d=$(mktemp -d {place}/mncc.XXXXXX) || exit 1; "
    f'echo; echo "{_FOLDER} $(uname -s) $(uname -m) $d"; '
    "cat > /dev/null; "
    'kill -9 $(cat "$d/pid" 2> /dev/null) 2> /dev/null; rm -rf "$d"'
)
BEGIN = "mncc-begins"
"""The line before what a command says or a file holds; a login may say something first."""
_STATUS = "mncc-status"
"""The word before the exit status of a line; old versions of adb do not pass it on."""
_MACHINES = {
    "aarch64": ("aarch64", "arm64"),
    "arm": ("armv7l", "armv8l", "aarch64"),
    "x86_64": ("x86_64", "amd64"),
}
"""What `uname -m` says where programs of an architecture run."""
_NO_PROGRAM = ("Exec format error", "cannot execute", "not executable", "Syntax error", "syntax error", "not found")
"""What shells say of a program for another machine; some take it for a script."""


@dataclass(frozen=True)
class Kept:
    """A folder of the far side, and the process here that keeps it."""

    folder: str
    process: subprocess.Popen[str]

    @property
    def lost(self) -> bool:
        """Whether the connection has ended; the folder is gone then, or soon."""
        return self.process.poll() is not None


class ShellDevice(Device):
    """A machine behind a shell. Subclasses know how to reach it and how files are copied."""

    tool: str
    """The program of this machine that reaches it."""
    package: str
    """Debian's package of the tool."""

    @property
    def place_help(self) -> str:
        """How another folder than the usual one is named, as the end of a help text."""
        return ""

    def check(self, target: Target) -> None:
        if shutil.which(self.tool) is None:
            help = f"install it (Debian: apt-get install {self.package})"
            raise OutsideError(f"--device {self.name}: there is no {self.tool} on this machine", help)

    @abstractmethod
    def reach_help(self, said: str) -> str:
        """What to do where the machine cannot be reached and the tool `said` this."""

    @contextmanager
    def keeper(self, prefix: Sequence[str], place: str, target: Target) -> Iterator[Kept]:
        """A new folder below `place`, which the far side removes when the block ends or the connection does; `prefix`
        are the words before a line of the shell. Raises OutsideError."""
        line = in_sh(_KEEPER.format(place=place))
        with tempfile.TemporaryFile("w+", errors="replace") as said:
            process = subprocess.Popen(
                [*prefix, line],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                errors="replace",
                start_new_session=True,  # an interrupt is for mncc, which then lets the far side clean up
            )
            try:
                folder, system, machine = self._greeting(process, said)
                self._check_machine(target, system, machine)
                yield Kept(folder, process)
            finally:
                _close(process)

    def _greeting(self, process: subprocess.Popen[str], said: IO[str]) -> tuple[str, str, str]:
        """The folder, system and machine that a new session tells. Raises OutsideError."""
        assert process.stdout is not None
        timer = threading.Timer(_CONNECT_SECONDS, process.kill)
        timer.start()
        try:
            for line in process.stdout:
                words = line.rstrip("\n").split(" ", 3)
                if words[0] == _FOLDER and len(words) == 4:
                    return words[3], words[1], words[2]
        finally:
            timer.cancel()
        process.wait()
        said.seek(0)
        finished = Finished(process.returncode, "", said.read())
        if "mktemp" in finished.err:
            help = f"make room there, or a folder that can be written{self.place_help}"
            raise OutsideError(f"{self.name}: no temporary folder can be made{last_words(finished)}", help)
        raise OutsideError(f"{self.name} cannot be reached{last_words(finished)}", self.reach_help(finished.err))

    def _check_machine(self, target: Target, system: str, machine: str) -> None:
        needed = "Darwin" if "apple" in target.triple else "Linux"
        if system != needed or machine not in _MACHINES.get(arch_of(target.triple), ()):
            raise OutsideError(
                f"{self.name} is {system} on {machine}, which does not run programs for {target.name}",
                "name its target with --target; `mncc targets` lists them",
            )


class ShellSession(Session):
    """A folder on such a machine. `prefix` are the words before a line of the shell."""

    def __init__(self, device: ShellDevice, prefix: Sequence[str], kept: Kept) -> None:
        self.device, self.prefix, self.kept, self.folder = device, tuple(prefix), kept, kept.folder

    @abstractmethod
    def lost(self, finished: Finished) -> bool:
        """Whether it was the connection that failed, by what the tool says."""

    def line(self, line: str, timeout: float) -> Finished:
        """Runs a line of the shell there. Raises OutsideError where the connection fails or it does not end."""
        finished = run_process([*self.prefix, in_sh(f"echo {BEGIN}; {line}; echo {_STATUS} $?")], timeout)
        said, found, status = finished.out.rpartition(_STATUS)
        said = said.partition(BEGIN)[2].removeprefix("\r").removeprefix("\n")
        if found and status.strip().isdigit() and not self.kept.lost:
            return Finished(int(status), said, finished.err)
        raise self.connection_lost(finished)

    def run(self, program: str, arguments: Sequence[str], timeout: float) -> Finished:
        words = shlex.join([f"./{program}", *arguments])
        # In the background, so that whoever waits for the end of the session can end it, but not after its own end: its
        # number may be another program's then.
        line = f"cd {shlex.quote(self.folder)} && {{ {words} & echo $! > pid; wait $!; s=$?; rm -f pid; (exit $s); }}"
        finished = self.line(line, timeout)
        if finished.status in (126, 127) or (finished.status == 2 and any(w in finished.err for w in _NO_PROGRAM)):
            raise OutsideError(
                f"{self.device.name}: the program cannot be started{last_words(finished)}", self._start_help(finished)
            )
        return finished

    def connection_lost(self, finished: Finished) -> OutsideError:
        """The error of a command that did not come back."""
        help = "see that the machine is up, then try again; it removes its temporary folder when it notices"
        return OutsideError(f"{self.device.name}: the connection was lost{last_words(finished)}", help)

    def copied(self, name: str, finished: Finished) -> None:
        """Raises OutsideError where a copy of the file `name` failed."""
        if finished.status == 0:
            return
        if self.kept.lost or self.lost(finished):
            raise self.connection_lost(finished)
        if is_full(finished):
            message = f"{self.device.name}: its disk is full, {name} cannot be copied{last_words(finished)}"
            raise OutsideError(message, f"free some space there{self.device.place_help}")
        help = f"try again{self.device.place_help}"
        raise OutsideError(f"{self.device.name}: {name} cannot be copied{last_words(finished)}", help)

    def _start_help(self, finished: Finished) -> str:
        if "ermission denied" in finished.err:
            return f"its folder for temporary files may forbid programs (noexec){self.device.place_help}"
        return "is it a machine of the target's architecture?"


def in_sh(line: str) -> str:
    """A line of the POSIX shell as one of any login shell."""
    return f"exec sh -c {shlex.quote(line)}"


def _close(process: subprocess.Popen[str]) -> None:
    """Ends the input of the far side and waits until it has cleaned up."""
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(OSError):  # where the connection is gone
        process.stdin.close()
    try:
        process.wait(_CLOSE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
