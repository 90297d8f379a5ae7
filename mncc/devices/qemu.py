"""qemu-user: programs of another architecture on this machine, with just the instructions of the target's CPU."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mncc.devices.device import Device
from mncc.devices.errors import NotEmulated
from mncc.devices.process import ProcessSession, process_session
from mncc.kernels.target import Target
from mncc.language.diagnostic import DiagnosticError, OutsideError
from mncc.library.toolchain import arch_of

_PROGRAMS = {"aarch64": "qemu-aarch64", "arm": "qemu-arm", "x86_64": "qemu-x86_64"}


@dataclass(frozen=True)
class Qemu(Device):
    """`qemu`; `options` are further words for the emulator, such as a plugin."""

    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "qemu"

    def check(self, target: Target) -> None:
        self.command(target)

    def command(self, target: Target) -> tuple[str, ...]:
        """The emulator's command line, up to the program. Raises DiagnosticError, OutsideError."""
        program = _PROGRAMS.get(arch_of(target.triple))
        if program is None or not target.emulated:
            raise DiagnosticError([NotEmulated(target.name)])
        found = shutil.which(program) or shutil.which(f"{program}-static")
        if found is None:
            help = "install it (Debian: apt-get install qemu-user)"
            raise OutsideError(f"--device qemu: there is no {program} on this machine", help)
        return (found, "-cpu", target.emulated, *self.options)

    @contextmanager
    def open(self, target: Target) -> Iterator[ProcessSession]:
        with process_session(self.command(target)) as session:
            yield session
