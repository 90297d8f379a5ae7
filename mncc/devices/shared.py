"""A device whose session is open already, for several programs that shall run on the very same machine in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mncc.devices.device import Device, Finished, Session
from mncc.kernels.target import Target


@dataclass(frozen=True)
class Shared(Device):
    """`session` of `device`. Every opening has programs of its own; other files are shared, which is for programs that
    do not run at the same time."""

    device: Device
    session: Session
    opened: list[_Part] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.device.name

    def check(self, target: Target) -> None:
        self.device.check(target)

    @contextmanager
    def open(self, target: Target) -> Iterator[_Part]:
        part = _Part(self.session, f"part{len(self.opened)}-")
        self.opened.append(part)
        yield part


@dataclass(frozen=True)
class _Part(Session):
    """The session for one of them; its programs' names begin with `prefix`."""

    session: Session
    prefix: str

    def send(self, file: Path, name: str, program: bool = False) -> None:
        self.session.send(file, self.prefix + name if program else name, program)

    def run(self, program: str, arguments: Sequence[str], timeout: float) -> Finished:
        return self.session.run(self.prefix + program, arguments, timeout)

    def fetch(self, name: str, file: Path) -> None:
        self.session.fetch(name, file)
