"""Devices that are this machine: a process, or a process under a command such as an emulator."""

from __future__ import annotations

import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mncc.devices.device import Device, Finished, Session
from mncc.devices.errors import NotThisMachine
from mncc.kernels.target import Target
from mncc.language.diagnostic import DiagnosticError, OutsideError
from mncc.library.toolchain import is_native


@dataclass(frozen=True)
class ProcessSession(Session):
    """A folder of this machine, and the words before a program."""

    folder: Path
    prefix: tuple[str, ...]
    running: list[subprocess.Popen[str]] = field(default_factory=list)
    """What another thread may find running when it ends the session."""

    def send(self, file: Path, name: str, program: bool = False) -> None:
        shutil.copyfile(file, self.folder / name)
        if program:
            (self.folder / name).chmod(0o700)

    def run(self, program: str, arguments: Sequence[str], timeout: float) -> Finished:
        command = [*self.prefix, str(self.folder / program), *arguments]
        return run_process(command, timeout, self.folder, self.running)

    def fetch(self, name: str, file: Path) -> None:
        shutil.copyfile(self.folder / name, file)


@contextmanager
def process_session(prefix: Sequence[str]) -> Iterator[ProcessSession]:
    """A session in a temporary folder of this machine."""
    with tempfile.TemporaryDirectory(prefix="mncc-device-", ignore_cleanup_errors=True) as folder:
        session = ProcessSession(Path(folder).resolve(), tuple(prefix))
        try:
            yield session
        finally:
            for process in list(session.running):
                process.kill()


def run_process(
    command: Sequence[str],
    timeout: float,
    folder: Path | None = None,
    running: list[subprocess.Popen[str]] | None = None,
) -> Finished:
    """Runs a command of this machine to its end; in `running` while it lasts. Raises OutsideError where it cannot start
    or does not end."""
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise OutsideError(f"{command[0]} does not run: {error.strerror or error}", "see that it can be run") from error
    listed = [] if running is None else running
    listed.append(process)
    try:
        with process:
            out, err = _communicate(process, timeout)
    except subprocess.TimeoutExpired as error:
        raise OutsideError(f"{command[0]} did not end within {timeout:.0f} s", "is it stuck?") from error
    finally:
        listed.remove(process)
    return Finished(process.returncode, out, err)


def _communicate(process: subprocess.Popen[str], timeout: float) -> tuple[str, str]:
    """What a process says until it ends; one that does not, or is given up, is killed."""
    try:
        return process.communicate(timeout=timeout)
    except BaseException:
        process.kill()
        raise


@dataclass(frozen=True)
class Command(Device):
    """`command:WORDS`: a program of this machine that runs another, whose path and arguments follow the words."""

    words: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"command:{' '.join(self.words)}"

    def check(self, target: Target) -> None:
        if shutil.which(self.words[0]) is None:
            message = f"--device {self.name}: there is no program {self.words[0]}"
            raise OutsideError(message, "install it, or give its path")

    @contextmanager
    def open(self, target: Target) -> Iterator[ProcessSession]:
        with process_session(self.words) as session:
            yield session


@dataclass(frozen=True)
class Local(Device):
    """`local`: this machine."""

    @property
    def name(self) -> str:
        return "local"

    def check(self, target: Target) -> None:
        if not is_native(target.triple):
            raise DiagnosticError([NotThisMachine(target.name, platform.machine(), bool(target.emulated))])

    @contextmanager
    def open(self, target: Target) -> Iterator[ProcessSession]:
        with process_session(()) as session:
            yield session
