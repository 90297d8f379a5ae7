"""Devices that are this machine: a process, or a process under a command such as an emulator."""

from __future__ import annotations

import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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

    def send(self, file: Path, name: str, program: bool = False) -> None:
        shutil.copyfile(file, self.folder / name)
        if program:
            (self.folder / name).chmod(0o700)

    def run(self, program: str, arguments: Sequence[str], timeout: float) -> Finished:
        command = [*self.prefix, str(self.folder / program), *arguments]
        return run_process(command, timeout, self.folder)

    def fetch(self, name: str, file: Path) -> None:
        shutil.copyfile(self.folder / name, file)


@contextmanager
def process_session(prefix: Sequence[str]) -> Iterator[ProcessSession]:
    """A session in a temporary folder of this machine."""
    with tempfile.TemporaryDirectory(prefix="mncc-device-", ignore_cleanup_errors=True) as folder:
        yield ProcessSession(Path(folder).resolve(), tuple(prefix))


def run_process(command: Sequence[str], timeout: float, folder: Path | None = None) -> Finished:
    """Runs a command of this machine to its end. Raises OutsideError where it cannot start or does not end."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise OutsideError(f"{command[0]} did not end within {timeout:.0f} s", "is it stuck?") from error
    except OSError as error:
        raise OutsideError(f"{command[0]} does not run: {error.strerror or error}", "see that it can be run") from error
    return Finished(done.returncode, done.stdout, done.stderr)


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
