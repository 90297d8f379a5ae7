"""`ssh://user@host`: a machine that sshd answers for. Files go through `cat`, so that it needs neither scp nor sftp.

One connection, the one that the session's folder is kept by, carries all commands.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mncc.devices.device import Finished
from mncc.devices.errors import UnknownDevice
from mncc.devices.shell import BEGIN, COPY_SECONDS, ShellDevice, ShellSession, in_sh
from mncc.kernels.target import Target
from mncc.language.diagnostic import DiagnosticError, OutsideError

_FORM = re.compile(
    r"ssh://(?:(?P<user>[^@/\s]+)@)?(?P<host>[^@:/\s\[]+|\[[^\]\s]+\])(?::(?P<port>\d{1,5}))?(?P<place>/\S*)?"
)
_FAILED = 255
"""ssh's own exit status where the connection fails."""
_OPTIONS = (
    *("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ControlPersist=no"),
    *("-o", "RemoteCommand=none", "-o", "ClearAllForwardings=yes"),
    *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"),
)
_LONGEST_SOCKET = 80
"""Characters of a socket's path that every system allows, with what ssh puts behind it."""


@dataclass(frozen=True)
class Ssh(ShellDevice):
    """A user of a host, by ssh's own names and settings; temporary folders are made in `place` ("": where that machine
    makes them)."""

    text: str
    host: str
    """As ssh takes it: host or user@host."""
    port: int | None = None
    place: str = ""

    tool = "ssh"
    package = "openssh-client"

    @property
    def name(self) -> str:
        return self.text

    @property
    def place_help(self) -> str:
        port = f":{self.port}" if self.port else ""
        return f", or name another folder: --device ssh://{self.host}{port}/a/folder"

    def reach_help(self, said: str) -> str:
        words = shlex.join(["ssh", *self._port(), self.host, "true"])
        if "Host key verification failed" in said or "Permission denied" in said:
            return f"`{words}` must work without a question: with a known host and a key that needs no password"
        return f"see whether `{words}` works"

    @contextmanager
    def open(self, target: Target) -> Iterator[SshSession]:
        place = shlex.quote(self.place) if self.place else '"${TMPDIR:-/tmp}"'
        with tempfile.TemporaryDirectory(prefix="mncc-ssh-", ignore_cleanup_errors=True) as folder:
            socket = str(Path(folder, "s"))
            shared = len(socket) <= _LONGEST_SOCKET
            begin = [self.tool, *_OPTIONS, *self._port()]
            first = ["-o", "ControlMaster=yes", "-S", socket] if shared else []
            later = ["-o", "ControlMaster=no", "-S", socket] if shared else []
            with self.keeper([*begin, *first, "--", self.host], place, target) as kept:
                yield SshSession(self, [*begin, *later, "--", self.host], kept)

    def _port(self) -> list[str]:
        return ["-p", str(self.port)] if self.port else []


class SshSession(ShellSession):
    """A folder of that machine."""

    def lost(self, finished: Finished) -> bool:
        return finished.status == _FAILED

    def send(self, file: Path, name: str, program: bool = False) -> None:
        path = shlex.quote(f"{self.folder}/{name}")
        line = f"cat > {path}" + (f" && chmod 700 {path}" if program else "")
        with file.open("rb") as content:
            self.copied(name, self._copy(line, content, subprocess.DEVNULL))

    def fetch(self, name: str, file: Path) -> None:
        path = shlex.quote(f"{self.folder}/{name}")
        with file.open("w+b") as content:
            self.copied(name, self._copy(f"echo {BEGIN}; cat {path}", subprocess.DEVNULL, content))
            _drop_greeting(content)

    def _copy(self, line: str, source: int | IO[bytes], sink: int | IO[bytes]) -> Finished:
        """Runs a line with its input and output files of this machine."""
        command = [*self.prefix, in_sh(line)]
        try:
            done = subprocess.run(
                command, stdin=source, stdout=sink, stderr=subprocess.PIPE, timeout=COPY_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            message = f"{self.device.name}: copying did not end within {COPY_SECONDS:.0f} s"
            raise OutsideError(message, "see that the connection is fast enough") from error
        return Finished(done.returncode, "", done.stderr.decode(errors="replace"))


def _drop_greeting(file: IO[bytes]) -> None:
    """Leaves in a file what comes behind the line that begins it."""
    file.seek(0)
    _, _, content = file.read().partition(f"{BEGIN}\n".encode())
    file.seek(0)
    file.truncate()
    file.write(content)


def parse_ssh(text: str) -> Ssh:
    """The device of `ssh://[user@]host[:port][/folder]`. Raises DiagnosticError."""
    parts = _FORM.fullmatch(text)
    if parts is None:
        raise DiagnosticError([UnknownDevice(text, "expected ssh://user@host, with a :port or a /folder behind it")])
    host = parts["host"].strip("[]")
    port = int(parts["port"]) if parts["port"] else None
    if port is not None and not 1 <= port <= 65535:
        raise DiagnosticError([UnknownDevice(text, f"{port} is no port: they go from 1 to 65535")])
    return Ssh(text, f"{parts['user']}@{host}" if parts["user"] else host, port, (parts["place"] or "").rstrip("/"))
