"""What a device is: somewhere that takes files, runs programs, and gives files back."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from mncc.kernels.target import Target
from mncc.language.diagnostic import OutsideError

_FULL = ("No space left on device", "Disk quota exceeded", "File too large")
_FILE_TOO_LARGE = (-signal.SIGXFSZ, 128 + signal.SIGXFSZ)


@dataclass(frozen=True)
class Finished:
    """A program that has ended: its exit status, or minus the signal that ended it, and what it said."""

    status: int
    out: str
    err: str


class Session(ABC):
    """A temporary folder on a device; files in it have plain names. Made by Device.open."""

    @abstractmethod
    def send(self, file: Path, name: str, program: bool = False) -> None:
        """Copies a file of this machine there, executable where it is a program. Raises OutsideError."""

    @abstractmethod
    def run(self, program: str, arguments: Sequence[str], timeout: float) -> Finished:
        """Runs a program that was sent, in the folder. Raises OutsideError where it cannot be started, does not end in
        `timeout` seconds, or the device is lost."""

    @abstractmethod
    def fetch(self, name: str, file: Path) -> None:
        """Copies a file back to this machine. Raises OutsideError."""


class Device(ABC):
    """Where programs run."""

    @property
    @abstractmethod
    def name(self) -> str:
        """As --device has it."""

    @abstractmethod
    def check(self, target: Target) -> None:
        """Raises what can be known before any work: OutsideError where a tool is missing, DiagnosticError where the
        device cannot run programs of this target."""

    def seats(self) -> int:
        """How many sessions may be open at a time without one disturbing another. Raises OutsideError."""
        return 1

    @abstractmethod
    def open(self, target: Target) -> AbstractContextManager[Session]:
        """A new folder there, which is gone when the block ends, however it ends. Raises OutsideError."""


def require_success(finished: Finished, device: str, target: Target) -> None:
    """Raises OutsideError, in words, where a program did not end well."""
    if finished.status == 0:
        return
    number, told = signal_of(finished), last_words(finished)
    if number == signal.SIGILL:
        raise OutsideError(
            f"{device}: the processor lacks an instruction that the kernels for {target.name} use (SIGILL)",
            "name the target of that processor; `mncc targets` lists them",
        )
    if is_full(finished):
        raise OutsideError(f"{device}: its disk is full{told}", "free some space there")
    if number is not None:
        lacks = number == signal.SIGKILL
        help = "its memory may not suffice: try a smaller network" if lacks else f"see that {device} itself is in order"
        raise OutsideError(f"{device}: the program was ended by {_signal_name(number)}{told}", help)
    help = f"see that {device} runs other programs"
    raise OutsideError(f"{device}: the program failed with status {finished.status}{told}", help)


def signal_of(finished: Finished) -> int | None:
    """The signal that ended a program, as a shell tells it too; None where it ended by itself."""
    number = -finished.status if finished.status < 0 else finished.status - 128
    return number if 0 < number < 65 else None


def is_full(finished: Finished) -> bool:
    """Whether a program failed because a disk is full, or a quota or limit reached."""
    return any(words in finished.err for words in _FULL) or finished.status in _FILE_TOO_LARGE


def last_words(finished: Finished) -> str:
    """The end of what a program said, to follow a message."""
    said = (finished.err.strip() or finished.out.strip()).splitlines()[-6:]
    return ":\n" + "\n".join(said) if said else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
