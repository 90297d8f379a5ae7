"""`adb://serial`: an Android device behind the Android debug bridge."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mncc.devices.device import Finished
from mncc.devices.errors import UnknownDevice
from mncc.devices.process import run_process
from mncc.devices.shell import COPY_SECONDS, ShellDevice, ShellSession
from mncc.kernels.target import Target
from mncc.language.diagnostic import DiagnosticError

_PLACE = "/data/local/tmp"
"""Where the shell's user may write and run programs."""
_LOST = ("device offline", "not found", "no devices", "closed", "unauthorized", "cannot connect")


@dataclass(frozen=True)
class Adb(ShellDevice):
    """The device with that serial number; "" is the only one that is connected."""

    serial: str

    tool = "adb"
    package = "adb"

    @property
    def name(self) -> str:
        return f"adb://{self.serial}"

    def reach_help(self, said: str) -> str:
        if "unauthorized" in said:
            return "allow this computer on the device's screen"
        if "more than one" in said:
            return "name one of `adb devices`: --device adb://serial"
        return "`adb devices` lists what is connected; debugging must be allowed on the device"

    @contextmanager
    def open(self, target: Target) -> Iterator[AdbSession]:
        with self.keeper([*self.words, "shell"], _PLACE, target) as kept:
            yield AdbSession(self, [*self.words, "shell"], kept)

    @property
    def words(self) -> tuple[str, ...]:
        """The beginning of every command."""
        return (self.tool, "-s", self.serial) if self.serial else (self.tool,)


class AdbSession(ShellSession):
    """A folder of that device."""

    device: Adb

    def lost(self, finished: Finished) -> bool:
        return any(words in finished.err for words in _LOST)

    def send(self, file: Path, name: str, program: bool = False) -> None:
        path = f"{self.folder}/{name}"
        self.copied(name, run_process([*self.device.words, "push", str(file), path], COPY_SECONDS))
        if program:
            self.copied(name, self.line(f"chmod 700 {shlex.quote(path)}", COPY_SECONDS))

    def fetch(self, name: str, file: Path) -> None:
        path = f"{self.folder}/{name}"
        self.copied(name, run_process([*self.device.words, "pull", path, str(file)], COPY_SECONDS))


def parse_adb(text: str) -> Adb:
    """The device of `adb://serial`. Raises DiagnosticError."""
    serial = text.removeprefix("adb://")
    if serial.startswith("-") or any(c.isspace() or c == "/" for c in serial):
        raise DiagnosticError([UnknownDevice(text, "expected adb://serial, as `adb devices` lists it, or adb://")])
    return Adb(serial)
