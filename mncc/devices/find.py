"""--device, from its text to a Device."""

from __future__ import annotations

import re
import shlex

from mncc.devices.adb import parse_adb
from mncc.devices.device import Device
from mncc.devices.errors import UnknownDevice
from mncc.devices.process import Command, Local
from mncc.devices.qemu import Qemu
from mncc.devices.ssh import parse_ssh
from mncc.devices.tracker import parse_tracker
from mncc.language.diagnostic import DiagnosticError

_BETWEEN = re.compile(r",(?=local\b|qemu\b|command:|ssh://|adb://|tracker://)")
"""Two devices."""


def find_device(text: str) -> Device:
    """The device of that name: local, qemu, command:WORDS, ssh://user@host[:port][/folder], adb://serial or
    tracker://host:port/key. Raises DiagnosticError."""
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
        return parse_tracker(text)
    raise DiagnosticError([UnknownDevice(text)])


def find_devices(text: str) -> tuple[Device, ...]:
    """The devices of `A,B`; a comma inside of a command's words is no end of it. Raises DiagnosticError."""
    return tuple(map(find_device, _BETWEEN.split(text)))


def _words(text: str, rest: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(rest))
    except ValueError as error:
        raise DiagnosticError([UnknownDevice(text, f"the words of the command: {error}")]) from error
    if not words:
        raise DiagnosticError([UnknownDevice(text, "the command is missing")])
    return words
