"""Counts the instructions of a library under qemu-user, kernel by kernel: what can be said of a processor that is not
here. Instructions are not time.

A plugin of qemu (count_blocks.c) counts; the program that is counted (counted.c) runs the library's archive and tells
by marks which kernel is done. Both are compiled when they are needed, the plugin for this machine.
"""

from __future__ import annotations

import platform
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mncc.devices.device import Finished, require_success
from mncc.devices.errors import NotCounted
from mncc.devices.executed import Class, Executed, read_executed
from mncc.devices.loaded import read_manifest
from mncc.devices.process import run_process
from mncc.devices.qemu import Qemu
from mncc.kernels.target import Target
from mncc.language.diagnostic import DiagnosticError, OutsideError
from mncc.library.toolchain import Toolchain, arch_of, find_toolchain, run_tool

_HERE = Path(__file__).parent
PLUGIN, PROGRAM = _HERE / "count_blocks.c", _HERE / "counted.c"

WHOLE, FIRST_KERNEL = 1, 2
"""Mark tags of counted.c: a whole run, and the first kernel of another one."""

_COUNTED = ("aarch64", "arm")
"""Architectures whose instructions mncc.devices.executed can tell apart."""
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


def find_emulator(target: Target) -> str:
    """qemu-user for the target. Raises DiagnosticError where there is none for it, or none would be counted;
    OutsideError where it is missing."""
    if arch_of(target.triple) not in _COUNTED:
        raise DiagnosticError([NotCounted(target.name)])
    return Qemu().command(target)[0]


def emulator_version(emulator: str) -> str:
    """`7.2.22`. Raises OutsideError where it does not tell."""
    said = run_tool("asked for its version", [emulator, "--version"], Path.cwd())
    version = re.search(r"version (\d[\d.]*)", said)
    if version is None:
        raise OutsideError(f"{emulator} does not tell its version, but `{said.splitlines()[0] if said else ''}`")
    return version[1]


def build_plugin(emulator: str, folder: Path) -> Path:
    """The counting plugin for this qemu, compiled into `folder`. Raises OutsideError where this machine cannot."""
    api = 1 if int(emulator_version(emulator).split(".")[0]) < _API_2_SINCE else 2
    plugin = folder / "count_blocks.so"
    flags = ["-std=c11", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", f"-DPLUGIN_API={api}"]
    try:
        native = find_toolchain(f"{platform.machine()}-linux-gnu")
    except OutsideError as error:
        what = "counting needs a C compiler for this machine, which makes qemu's counting plugin; there is none"
        raise OutsideError(what, "install one (Debian: apt-get install gcc), or name one in CC") from error
    native.compile("compiling the counting plugin", [*flags, str(PLUGIN), "-o", str(plugin)], folder)
    return plugin


def plugin_options(plugin: Path, answer: Path) -> tuple[str, ...]:
    """qemu's words for the plugin, which writes the file `answer` when the program ends (mncc.devices.executed)."""
    words = (f"{key}={str(file).replace(',', ',,')}" for key, file in (("file", plugin), ("out", answer)))
    return ("-plugin", ",".join(words))


def count_program(
    command: Sequence[str], target: Target, options: Sequence[str] = (), timeout: float = _SECONDS
) -> tuple[Executed, str]:
    """Runs a program of another machine that sets marks, and counts: what ran, and what it wrote to standard output.

    `options` are more words for qemu. Raises DiagnosticError as find_emulator does, OutsideError where qemu cannot load
    plugins, or the program fails, which a CPU without its instructions makes it do.
    """
    emulator = find_emulator(target)
    with tempfile.TemporaryDirectory(prefix="mncc-count-", ignore_cleanup_errors=True) as folder:
        plugin, answer = build_plugin(emulator, Path(folder)), Path(folder, "executed.txt")
        counting = ("-cpu", target.emulated, *options, *plugin_options(plugin, answer))
        finished = run_process([emulator, *counting, *command], timeout)
        require_plugin(finished, emulator)
        require_success(finished, emulator, target)
        try:
            return read_executed(answer.read_text(encoding="utf-8")), finished.out
        except (OSError, ValueError) as error:
            raise OutsideError(f"{emulator} left no complete count: {error}", "try again") from error


def count_library(
    directory: Path, name: str, target: Target, inputs: Sequence[np.ndarray] = (), cc: str | None = None
) -> LibraryCount:
    """Counts one run of the library NAME in a build's folder on one thread; `inputs`, where given, are all of its
    inputs as float32 arrays, and `cc` the compiler for the target, where it is not to be looked for. Raises
    DiagnosticError, OutsideError as count_program does."""
    find_emulator(target)
    manifest = read_manifest(directory, name)
    with tempfile.TemporaryDirectory(prefix="mncc-counted-", ignore_cleanup_errors=True) as folder:
        program = Path(folder, "counted")
        _link(directory, name, find_toolchain(target.triple, cc), program)
        sources = [Path(folder, f"input{n}") for n in range(len(inputs))]
        for file, array in zip(sources, inputs, strict=True):
            file.write_bytes(np.ascontiguousarray(array, np.float32).tobytes())
        sinks = [Path(folder, f"output{n}") for n in range(len(manifest["outputs"]) if inputs else 0)]
        executed, _ = count_program([str(program), *map(str, (*sources, *sinks))], target)
        outputs = tuple(np.fromfile(file, np.float32) for file in sinks)
    kernels = len(manifest["kernels"])
    if len(executed.marks) != kernels + 2:
        raise OutsideError(f"{name} set {len(executed.marks)} marks instead of {kernels + 2}", "build it again")
    counts = [Count(executed.total(tag), executed.classes(tag)) for tag in range(WHOLE, FIRST_KERNEL + kernels)]
    return LibraryCount(counts[0], tuple(counts[1:]), outputs, executed)


def _link(directory: Path, name: str, toolchain: Toolchain, program: Path) -> None:
    """counted.c with the library's archive and with libc, so that the other machine's libraries are not needed."""
    folder = directory.resolve()
    header = f'-DHEADER="{folder / name}.h"'  # Whole: a network may be called like a header of ours.
    libraries = (str(folder / f"lib{name}.a"), "-pthread", "-lm", "-static")
    arguments = ["-std=c11", "-O2", header, f"-DMODEL={name}_model", str(PROGRAM), *libraries, "-o", str(program)]
    toolchain.compile("linking the program that is counted", arguments, program.parent)


def require_plugin(finished: Finished, emulator: str) -> None:
    """Raises OutsideError where qemu did not take the plugin."""
    said = next((line for line in finished.err.splitlines() if "plugin" in line.lower()), None)
    if finished.status != 0 and said is not None:
        help = "use one that loads plugins (Debian: apt-get install qemu-user, not qemu-user-static)"
        raise OutsideError(f"{emulator} does not take the counting plugin: {said}", help)
