"""--device, from its text to a Device."""

from __future__ import annotations

import shlex

from mncc.devices.device import Device
from mncc.devices.errors import UnknownDevice
from mncc.devices.process import Command, Local
from mncc.devices.qemu import Qemu
from mncc.language.diagnostic import DiagnosticError


def find_device(text: str) -> Device:
    """The device of that name: local, qemu, command:WORDS. Raises DiagnosticError."""
    if text == "local":
        return Local()
    if text == "qemu":
        return Qemu()
    kind, _, rest = text.partition(":")
    if kind == "command":
        return Command(_words(text, rest))
    if kind in ("ssh", "adb", "tracker"):
        raise DiagnosticError([UnknownDevice(text, f"{kind}:// cannot be reached so far")])
    raise DiagnosticError([UnknownDevice(text)])


def _words(text: str, rest: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(rest))
    except ValueError as error:
        raise DiagnosticError([UnknownDevice(text, f"the words of the command: {error}")]) from error
    if not words:
        raise DiagnosticError([UnknownDevice(text, "the command is missing")])
    return words
