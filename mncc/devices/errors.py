"""What can be wrong with --device. One frozen dataclass an error."""

from __future__ import annotations

from dataclasses import dataclass

from mncc.language.diagnostic import Diagnostic

FORMS = "local, qemu, command:WORDS, ssh://user@host, adb://serial or tracker://host:port/key"


@dataclass(frozen=True)
class UnknownDevice(Diagnostic):
    """--device has none of the known forms."""

    text: str
    reason: str = "there is no such device"

    @property
    def title(self) -> str:
        return self.reason

    @property
    def help(self) -> str:
        return f"devices are {FORMS}"


@dataclass(frozen=True)
class MixedDevices(Diagnostic):
    """--device names emulators, whose instructions are counted, beside devices that are timed."""

    names: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"{', '.join(self.names)}: instructions cannot be compared with seconds"

    @property
    def help(self) -> str:
        return "name devices of one kind: --device qemu, or --device ssh://user@a,ssh://user@b"


@dataclass(frozen=True)
class MixedProcessors(Diagnostic):
    """--device names machines whose times cannot be compared; pairs of a device and its processor."""

    processors: tuple[tuple[str, str], ...]

    @property
    def title(self) -> str:
        named = "; ".join(f"{device} is {processor or 'unknown'}" for device, processor in self.processors)
        return f"devices of one kind are needed to share a search: {named}"

    @property
    def help(self) -> str:
        return "name devices that have the same processor, and tune for the others in a run of their own"


@dataclass(frozen=True)
class NotEmulated(Diagnostic):
    """qemu-user has no CPU for the target."""

    target: str

    @property
    def title(self) -> str:
        return f"qemu-user emulates no processor for {self.target}"

    @property
    def help(self) -> str:
        return "run it on a machine of that kind: --device ssh://user@host"


@dataclass(frozen=True)
class NotThisMachine(Diagnostic):
    """`local` with a target of another architecture."""

    target: str
    machine: str
    emulated: bool

    @property
    def title(self) -> str:
        return f"this machine ({self.machine}) cannot run programs for {self.target}"

    @property
    def help(self) -> str:
        emulator = "--device qemu emulates it; " if self.emulated else ""
        return f"{emulator}--device ssh://user@host runs them on a machine of that kind"


@dataclass(frozen=True)
class NotCounted(Diagnostic):
    """Instructions of another architecture than Arm's."""

    target: str

    @property
    def title(self) -> str:
        return f"instructions are counted for arm64 and armv7, not for {self.target}"

    @property
    def help(self) -> str:
        return "leave --device out, and it is timed on this machine; or name an arm64 target"
