"""--device, from its text to a Device."""

from __future__ import annotations

import shlex

from mncc.devices.adb import parse_adb
from mncc.devices.device import Device
from mncc.devices.errors import UnknownDevice
from mncc.devices.process import Command, Local
from mncc.devices.qemu import Qemu
from mncc.devices.ssh import parse_ssh
from mncc.language.diagnostic import DiagnosticError


def find_device(text: str) -> Device:
    """The device of that name: local, qemu, command:WORDS, ssh://user@host[:port][/folder] or adb://serial.
    Raises DiagnosticError."""
    if text == "local":
        return Local()
    if text == "qemu":
        return Qemu()
    if text.startswith("command:"):
        return Command(_words(text, text.removeprefix("command:")))
    if text.startswith("ssh://"):
        return parse_ssh(text)
    if text.startswith("adb://"):
        return parse_adb(text)
    if text.startswith("tracker://"):
        raise DiagnosticError([UnknownDevice(text, "a tracker hands out devices for tuning, which mncc cannot do yet")])
    raise DiagnosticError([UnknownDevice(text)])


def _words(text: str, rest: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(rest))
    except ValueError as error:
        raise DiagnosticError([UnknownDevice(text, f"the words of the command: {error}")]) from error
    if not words:
        raise DiagnosticError([UnknownDevice(text, "the command is missing")])
    return words
