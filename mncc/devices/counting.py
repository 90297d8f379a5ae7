"""Counts the instructions of a library under qemu-user, kernel by kernel: what can be said of a processor that is not
here. Instructions are not time.

A plugin of qemu (count_blocks.c) counts; the program that is counted (counted.c) runs the library's archive and tells
by marks which kernel is done. Both are compiled when they are needed, the plugin for this machine.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mncc.devices.executed import Class, Executed, read_executed
from mncc.devices.loaded import read_manifest
from mncc.language.diagnostic import OutsideError
from mncc.library.toolchain import find_toolchain, run_tool

_HERE = Path(__file__).parent
PLUGIN, PROGRAM = _HERE / "count_blocks.c", _HERE / "counted.c"

WHOLE, FIRST_KERNEL = 1, 2
"""Mark tags of counted.c: a whole run, and the first kernel of another one."""

_EMULATORS = {"aarch64": "qemu-aarch64", "arm": "qemu-arm", "armv7": "qemu-arm", "armv7a": "qemu-arm"}
_API_2_SINCE = 9
"""The release of qemu that wants plugins of the second interface, and refuses those of the first."""
_SECONDS = 1800.0


@dataclass(frozen=True)
class Count:
    """Instructions of a piece of a program, in all and by classes."""

    total: int
    classes: dict[Class, int]


@dataclass(frozen=True)
class LibraryCount:
    """What one run of a library takes: as a whole, and its kernels in their order. `executed` has every instruction."""

    whole: Count
    kernels: tuple[Count, ...]
    outputs: tuple[np.ndarray, ...]
    """Flat, of the run that was counted; none where no inputs were given."""
    executed: Executed


def find_emulator(triple: str) -> str:
    """qemu-user for the machine of the triple. Raises OutsideError where it is missing, or none would count."""
    name = _EMULATORS.get(triple.split("-")[0])
    if name is None:
        raise OutsideError(f"instructions are counted for 64-bit and 32-bit Arm, not for {triple}")
    if shutil.which(name) is None:
        raise OutsideError(f"{name} is missing", "install qemu (Debian: apt-get install qemu-user)")
    return name


def emulator_version(triple: str) -> str:
    """`qemu-aarch64 7.2.22`. Raises OutsideError where there is none."""
    emulator = find_emulator(triple)
    version = re.search(r"version ([\d.]+)", _version_line(emulator))
    return f"{emulator} {version[1]}" if version else emulator


def build_plugin(emulator: str, folder: Path) -> Path:
    """The counting plugin for this qemu, compiled into `folder`. Raises OutsideError where this machine cannot."""
    said = _version_line(emulator)
    version = re.search(r"version (\d+)\.", said)
    if version is None:
        raise OutsideError(f"{emulator} does not tell its version, but `{said}`")
    plugin = folder / "count_blocks.so"
    api = 1 if int(version[1]) < _API_2_SINCE else 2
    flags = ["-std=c11", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", f"-DPLUGIN_API={api}"]
    native = find_toolchain(f"{platform.machine()}-linux-gnu")
    native.compile("compiling the counting plugin", [*flags, str(PLUGIN), "-o", str(plugin)], folder)
    return plugin


def count_program(
    command: Sequence[str], emulator: str, cpu: str, options: Sequence[str] = (), timeout: float = _SECONDS
) -> tuple[Executed, str]:
    """Runs a program of another machine that sets marks, and counts: what ran, and what it wrote to standard output.

    `cpu` is qemu's name, `options` are more words for qemu. Raises OutsideError where qemu cannot load plugins, or the
    program fails, which a CPU without its instructions makes it do.
    """
    with tempfile.TemporaryDirectory(prefix="mncc-count-", ignore_cleanup_errors=True) as folder:
        plugin, answer = build_plugin(emulator, Path(folder)), Path(folder, "executed.txt")
        try:
            done = subprocess.run(
                [emulator, "-cpu", cpu, *options, "-plugin", f"file={plugin},out={answer}", *command],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as error:
            raise OutsideError(f"{command[0]} did not end within {timeout:.0f} s under {emulator}") from error
        if done.returncode != 0:
            raise _failure(emulator, cpu, done.returncode, done.stderr.strip())
        try:
            return read_executed(answer.read_text(encoding="utf-8")), done.stdout
        except (OSError, ValueError) as error:
            raise OutsideError(f"{emulator} left no complete count: {error}") from error


def count_library(
    directory: Path, name: str, triple: str, cpu: str, inputs: Sequence[np.ndarray] = ()
) -> LibraryCount:
    """Counts one run of the library NAME in a build's folder on one thread; `inputs`, where given, are all of its
    inputs as float32 arrays. Raises OutsideError."""
    emulator = find_emulator(triple)
    manifest = read_manifest(directory, name)
    with tempfile.TemporaryDirectory(prefix="mncc-counted-", ignore_cleanup_errors=True) as folder:
        program = Path(folder, "counted")
        _link(directory, name, triple, program)
        sources = [Path(folder, f"input{n}") for n in range(len(inputs))]
        for file, array in zip(sources, inputs, strict=True):
            file.write_bytes(np.ascontiguousarray(array, np.float32).tobytes())
        sinks = [Path(folder, f"output{n}") for n in range(len(manifest["outputs"]) if inputs else 0)]
        executed, _ = count_program([str(program), *map(str, (*sources, *sinks))], emulator, cpu)
        outputs = tuple(np.fromfile(file, np.float32) for file in sinks)
    kernels = len(manifest["kernels"])
    if len(executed.marks) != kernels + 2:
        raise OutsideError(f"{name} set {len(executed.marks)} marks instead of {kernels + 2}")
    counts = [Count(executed.total(tag), executed.classes(tag)) for tag in range(WHOLE, FIRST_KERNEL + kernels)]
    return LibraryCount(counts[0], tuple(counts[1:]), outputs, executed)


def _link(directory: Path, name: str, triple: str, program: Path) -> None:
    """counted.c with the library's archive and with libc, so that the other machine's libraries are not needed."""
    words = (f'-DHEADER="{name}.h"', f"-DMODEL={name}_model", f"-I{directory}")
    libraries = (str(directory / f"lib{name}.a"), "-pthread", "-lm", "-static")
    arguments = ["-std=c11", "-O2", *words, str(PROGRAM), *libraries, "-o", str(program)]
    find_toolchain(triple).compile("linking the program that is counted", arguments, program.parent)


def _version_line(emulator: str) -> str:
    said = run_tool("asked for its version", [emulator, "--version"], Path.cwd())
    return said.splitlines()[0] if said else ""


def _failure(emulator: str, cpu: str, status: int, said: str) -> OutsideError:
    """Why qemu or the program in it ended with a status."""
    last = said.splitlines()[-1] if said else f"status {status}"
    if "-plugin" in said or "plugin" in said.lower():
        help = "use a dynamically linked qemu-user (Debian: apt-get install qemu-user, not qemu-user-static)"
        return OutsideError(f"{emulator} does not take the counting plugin: {last}", help)
    if "unable to find CPU model" in said:
        return OutsideError(f"{emulator} has no CPU {cpu}", "a newer qemu may have it")
    if "signal 4" in said:
        return OutsideError(f"the library uses an instruction that {cpu} lacks: {last}")
    return OutsideError(f"the program that is counted failed under {emulator}: {last}")
