"""The program that answers requests on a device: how it is built, and both files that it reads and writes (runner.c
describes them)."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mncc.devices.device import Device, Session, require_success
from mncc.devices.loaded import NO_CPU, Interface, RunError
from mncc.devices.requests import Answer, KernelRun, MachineFacts, NetworkRun, PeakSample, Repeat, Request
from mncc.kernels.target import Target
from mncc.language.diagnostic import OutsideError
from mncc.library.template import RUNTIME
from mncc.library.toolchain import Toolchain, arch_of
from mncc.library.write import LibraryFiles

TIMEOUT = 3600.0
"""Seconds after which a device that answers nothing is given up."""

_SOURCES = Path(__file__).parent
_REQUESTS, _ANSWERS = b"mnccreq1", b"mnccans1"
_END, _NETWORK, _KERNEL, _PEAK, _MACHINE = range(5)
_EXIT_CPU = 6
"""The runner's status where the processor lacks the instructions of the variant that it was told to run."""
_PEAK_FLAGS = {"arm": ("-march=armv7-a", "-mfpu=neon-vfpv4", "-mfloat-abi=hard")}
_ZIG_PEAK_FLAGS = {"arm": ("-mcpu=generic+v7a+neon+vfp4",)}
"""So that the compiler knows fused multiply-adds."""


def build_runner(name: str, files: LibraryFiles, target: Target, toolchain: Toolchain, folder: Path) -> Path:
    """The runner of a library that was written with its probe: one executable in `folder`, which may be any. It needs
    no shared library, but on macOS. Raises OutsideError."""
    assert files.probe_archive is not None, "the runner needs the library's probe"
    static = toolchain.static
    flags = (_ZIG_PEAK_FLAGS if static.zig else _PEAK_FLAGS).get(arch_of(target.triple), ())
    peak = ["-O2", *static.baseline, *flags, "-DFMA_PEAK_PART", "-c", str(_SOURCES / "fma_peak.c"), "-o", "fma_peak.o"]
    static.compile("compiling the FMA peak meter", peak, folder)
    header = files.directory.resolve() / f"{name}.h"  # Whole: a network may be called like a header of ours.
    names = [f"-DMNCC_NETWORK={name}", f'-DMNCC_HEADER="{header}"', f"-I{RUNTIME}"]
    linked = ["fma_peak.o", str(files.probe_archive.resolve()), "-pthread", "-lm", "-o", "runner"]
    command = ["-O2", *static.baseline, *names, str(_SOURCES / "runner.c"), *linked]
    link_whole("linking the runner", command, target, toolchain, folder)
    return folder / "runner"


def link_whole(what: str, arguments: list[str], target: Target, toolchain: Toolchain, folder: Path) -> None:
    """Links an executable that needs no shared library, but on macOS; `what` says in an error what that was. Raises
    OutsideError."""
    static = toolchain.static
    whole = [] if "apple" in target.triple else ["-static"]
    try:
        static.compile(what, [*arguments, *whole], folder)
    except OutsideError as error:
        if "-lc" not in error.message:
            raise
        help = "install it (Fedora: dnf install glibc-static; Debian has it in libc6-dev)"
        message = f"{static.cc[0]} has no static C library (libc.a), which {what} needs"
        raise OutsideError(message, help) from error


@dataclass(frozen=True)
class Remote:
    """A Place on a device: its runner has been sent there."""

    session: Session
    device: Device
    target: Target
    name: str
    """The library's."""
    outputs: tuple[Interface, ...]
    variant: int | None = None
    """Of a library for several targets: the number of the one whose kernels run, None: which the library chooses."""

    def answers(self, requests: Iterable[Request]) -> Iterator[Answer]:
        """All requests are made and sent, then answered in one start of the runner."""
        with tempfile.TemporaryDirectory(prefix="mncc-requests-", ignore_cleanup_errors=True) as folder:
            asked, answered = Path(folder, "requests"), Path(folder, "answers")
            with asked.open("wb") as file:
                kinds = write_requests(file, requests)
            self.session.send(asked, asked.name)
            asked.unlink()
            chosen = [] if self.variant is None else [str(self.variant)]
            finished = self.session.run("runner", [asked.name, answered.name, *chosen], TIMEOUT)
            if finished.status == _EXIT_CPU:
                raise RunError(self.name, NO_CPU, f"the processor lacks instructions of {self.target.name}")
            require_success(finished, self.device.name, self.target)
            try:
                self.session.fetch(answered.name, answered)
            except FileNotFoundError as error:
                what = f"{self.device.name}: the program left no answers, as if it had not been run"
                raise OutsideError(what, "a command must run the program whose path and arguments follow it") from error
            with answered.open("rb") as file:
                yield from self.read(file, kinds)

    def read(self, file: BinaryIO, kinds: Sequence[int]) -> Iterator[Answer]:
        """The answers in a file that the runner wrote to requests of these kinds. Raises as `answers` does."""
        reader = _Reader(file, self.device.name)
        reader.expect(_ANSWERS)
        for kind in kinds:
            record = reader.record(kind)
            if record.status != 0:
                raise RunError(self.name, record.status, record.text)
            if kind == _PEAK:
                yield Answer(gflops=float(record.text))
            elif kind == _MACHINE:
                system, architecture, cpus = record.text.split()
                cpuinfo = record.buffers[0].tobytes().decode(errors="replace")
                yield Answer(machine=MachineFacts(system, architecture, int(cpus), cpuinfo))
            elif kind == _KERNEL:
                yield Answer(record.buffers, tuple(record.seconds))
            else:
                pairs = zip(record.buffers, self.outputs, strict=True)
                outputs = tuple(buffer.view(np.float32).reshape(tensor.shape) for buffer, tensor in pairs)
                runs = record.seconds.size if record.kernels.size else 0
                kernels = record.kernels.reshape(runs, record.kernels.size // max(runs, 1))
                yield Answer(outputs, tuple(record.seconds), kernels)
        reader.record(_END)


def write_requests(file: BinaryIO, requests: Iterable[Request]) -> list[int]:
    """Writes the file that the runner reads; answers the kind of every request."""
    file.write(_REQUESTS)
    kinds = []
    for request in requests:
        if isinstance(request, NetworkRun):
            inputs = request.inputs or ()
            _numbers(file, _NETWORK, request.threads, *_repeat(request.repeat), request.profile, len(inputs))
            for array in inputs:
                _numbers(file, array.nbytes)
                file.write(np.ascontiguousarray(array).data)
            kinds.append(_NETWORK)
        elif isinstance(request, KernelRun):
            _numbers(file, _KERNEL, request.kernel, *_repeat(request.repeat), len(request.tensors))
            for operand in request.tensors:
                given = isinstance(operand.memory, np.ndarray)
                _numbers(file, operand.nbytes, operand.start, given)
                if isinstance(operand.memory, np.ndarray):
                    file.write(np.ascontiguousarray(operand.memory).data)
            kinds.append(_KERNEL)
        elif isinstance(request, PeakSample):
            _numbers(file, _PEAK, request.threads, round(1e9 * request.seconds))
            kinds.append(_PEAK)
        else:
            _numbers(file, _MACHINE)
            kinds.append(_MACHINE)
    _numbers(file, _END)
    return kinds


def _repeat(repeat: Repeat) -> tuple[int, int, int]:
    return repeat.least, repeat.most, round(1e9 * repeat.seconds)


def _numbers(file: BinaryIO, *numbers: int) -> None:
    file.write(struct.pack(f"<{len(numbers)}Q", *numbers))


@dataclass(frozen=True)
class _Record:
    """One answer of the runner; times in seconds, buffers as bytes."""

    status: int
    text: str
    seconds: np.ndarray
    kernels: np.ndarray
    buffers: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class _Reader:
    """Reads what the runner wrote. Raises OutsideError where it is cut off or something else."""

    file: BinaryIO
    device: str

    def read(self, size: int) -> bytes:
        found = self.file.read(size)
        if len(found) != size:
            raise OutsideError(f"{self.device}: the answers of the program end too early", "try again")
        return found

    def expect(self, words: bytes) -> None:
        if self.read(len(words)) != words:
            raise OutsideError(f"{self.device}: what came back is no answer of the program", "try again")

    def number(self) -> int:
        return int(struct.unpack("<q", self.read(8))[0])

    def record(self, kind: int) -> _Record:
        """The next answer, which must be of this kind."""
        self.expect(struct.pack("<q", kind))
        status = self.number()
        text = self.read(self.number()).decode(errors="replace")
        seconds, kernels = (1e-9 * np.frombuffer(self.read(8 * self.number()), "<i8") for _ in range(2))
        buffers = tuple(np.frombuffer(bytearray(self.read(self.number())), np.uint8) for _ in range(self.number()))
        return _Record(status, text, seconds, kernels, buffers)
