"""The C compiler for a target, and the tools that belong to it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mncc.language.diagnostic import OutsideError
from mncc.library.glibc import glibc_floor

_SAME_ARCH = {"amd64": "x86_64", "arm64": "aarch64"}
_CROSS_PREFIX = {"x86_64": "x86_64-linux-gnu-", "aarch64": "aarch64-linux-gnu-", "arm": "arm-linux-gnueabihf-"}
_ZIG_TARGET = {"x86_64": "x86_64-linux-gnu", "aarch64": "aarch64-linux-gnu", "arm": "arm-linux-gnueabihf"}
_BASELINE = {"x86_64": ("-march=x86-64",), "aarch64": ("-march=armv8-a",)}
_ZIG_BASELINE = {"x86_64": "x86_64", "aarch64": "generic", "arm": "generic+v7a-neon"}
"""The oldest processor of an architecture, for the runtime; some compilers assume a newer one."""
EMIT_OBJECTS = "let another toolchain finish it: `mncc build --emit-objects`"


def arch_of(triple: str) -> str:
    """The architecture that a triple begins with: x86_64, aarch64 or arm."""
    first = triple.split("-")[0].lower()
    return "arm" if first.startswith("arm") and first != "arm64" else _SAME_ARCH.get(first, first)


@dataclass(frozen=True)
class Toolchain:
    """`cc` is the compiler's command line, `version` its first line about itself, which the manifest keeps, `machine`
    the triple that it compiles for. `zig` is zig's command where the compiler is `zig cc`, else empty."""

    cc: tuple[str, ...]
    version: str
    machine: str
    zig: tuple[str, ...] = ()

    @property
    def baseline(self) -> tuple[str, ...]:
        """What makes the compiler use no more than the oldest processor has; zig was told already."""
        return () if self.zig or "apple" in self.machine else _BASELINE.get(arch_of(self.machine), ())

    def compile(self, what: str, arguments: list[str], cwd: Path) -> None:
        """Runs the compiler in `cwd`; `what` says in an error what it was doing."""
        run_tool(what, [*self.cc, *arguments], cwd)

    @property
    def static(self) -> Toolchain:
        """The toolchain that links executables which need no shared library: itself, or zig with musl."""
        if not self.zig or "gnu" not in self.machine:
            return self
        musl = self.machine.partition("-linux-")[0] + "-linux-musl" + ("eabihf" if "eabihf" in self.machine else "")
        return replace(self, cc=tuple(musl if word == self.machine else word for word in self.cc), machine=musl)

    @property
    def ar(self) -> tuple[str, ...]:
        """The archiver with its operation, which leaves times and owners out; Apple's reads ZERO_AR_DATE instead."""
        if self.zig:
            return (*self.zig, "ar", "rcsD")
        return (self._tool("ar"), "rcs" if "apple" in self.machine else "rcsD")

    @property
    def objcopy(self) -> str | None:
        """An objcopy that can make symbols local; None where the toolchain has none, as zig."""
        return None if self.zig or "apple" in self.machine else self._tool("objcopy")

    def _tool(self, name: str) -> str:
        """The compiler's own tool: the right one where it compiles for another machine. LLVM's serve all machines."""
        for called in (f"llvm-{name}", name) if "clang" in self.version else (name,):
            answer = run_tool(f"asked for its {name}", [*self.cc, f"-print-prog-name={called}"], Path.cwd()).strip()
            found = shutil.which(answer)
            if found is not None:
                return found
        raise OutsideError(f"the compiler {shlex.join(self.cc)} has no {name}", "install binutils")

    def library(self, name: str) -> bool:
        """Whether the linker would find a library file of this name."""
        answer = run_tool(f"asked for {name}", [*self.cc, f"-print-file-name={name}"], Path.cwd()).strip()
        return answer != name


def find_toolchain(triple: str, cc: str | None = None) -> Toolchain:
    """The compiler for a target: `cc`, else the first that the machine has of: the environment's CC (for its own
    processor), the clang of ANDROID_NDK_HOME (for Android), the system's compiler or Debian's cross compiler, zig.

    `cc` and CC may hold arguments. Raises OutsideError where there is none, it does not run, or it compiles for
    another processor.
    """
    chosen = cc if cc is not None else (os.environ.get("CC") if is_native(triple) else None)
    candidates = [tuple(shlex.split(chosen))] if chosen else [*_system_compilers(triple), *_zig_commands(triple)]
    found = next((words for words in candidates if words and shutil.which(words[0])), None)
    if found is None:
        names = ", ".join(map(shlex.join, candidates)) or "an NDK in ANDROID_NDK_HOME"
        raise OutsideError(f"no C compiler for {triple}: looked for {names}", _how_to_get_one(triple))
    return _examined(triple, found)


def is_native(triple: str) -> bool:
    """Whether programs for `triple` are for this machine's system and architecture."""
    system = {"Linux": "linux", "Darwin": "apple"}.get(platform.system(), "?")
    return system in triple and "android" not in triple and arch_of(platform.machine()) == arch_of(triple)


def _system_compilers(triple: str) -> Iterator[tuple[str, ...]]:
    if "android" in triple:
        clang = f"toolchains/llvm/prebuilt/*/bin/{triple}-clang"
        home = os.environ.get("ANDROID_NDK_HOME")
        yield from ((str(path),) for path in (sorted(Path(home).glob(clang)) if home else ()))
    elif is_native(triple):
        yield from (("cc",), ("gcc",), ("clang",))
    elif "linux" in triple:
        yield (f"{_CROSS_PREFIX.get(arch_of(triple), arch_of(triple) + '-linux-gnu-')}gcc",)


def _zig_commands(triple: str) -> Iterator[tuple[str, ...]]:
    """Ways to call zig's C compiler: the program, or the package ziglang of this Python. It knows no Android."""
    if "android" in triple:
        return
    yield ("zig", "cc")
    if has_zig_package():
        yield (sys.executable, "-m", "ziglang", "cc")


def has_zig_package() -> bool:
    """Whether this Python has the package ziglang."""
    return importlib.util.find_spec("ziglang") is not None


def _examined(triple: str, words: tuple[str, ...]) -> Toolchain:
    """The toolchain behind a command, which gets zig's target where it names none."""
    zig = _zig_of(words)
    if zig and "-target" not in words:
        words = (*words, *_zig_target(triple))
    version = _first_line([*zig, "version"] if zig else [*words, "--version"])
    machine = words[words.index("-target") + 1] if zig else _first_line([*words, "-dumpmachine"])
    if arch_of(machine) != arch_of(triple) or _system(machine) != _system(triple):
        what = f"{shlex.join(words)} compiles for {machine or 'it does not say what'}, the target is {triple}"
        raise OutsideError(what, f"leave it out where one for the target is installed; else {_how_to_get_one(triple)}")
    return Toolchain(words, f"zig {version}" if zig else version, machine, zig)


def _system(triple: str) -> str:
    """Whose C library and linker a triple means."""
    if any(word in triple for word in ("apple", "macos", "darwin")):
        return "apple"
    return "android" if "android" in triple else "other"


def machine_of(cc: str) -> str:
    """The triple that a C compiler's command makes code for. Raises OutsideError where it does not run."""
    words = tuple(shlex.split(cc))
    found = _zig_of(words)
    if found or not words:
        raise OutsideError(f"{cc!r} does not say what it compiles for", "name a gcc or a clang with --cc")
    return _first_line([*words, "-dumpmachine"])


def _first_line(command: list[str]) -> str:
    """What a compiler answers about itself."""
    return run_tool("asked for its version", command, Path.cwd()).split("\n")[0].strip()


def _zig_of(words: tuple[str, ...]) -> tuple[str, ...]:
    """`zig` or `python -m ziglang` of a command `... cc`, else nothing."""
    for number, word in enumerate(words[1:], start=1):
        if word == "cc" and Path(words[number - 1]).name in ("zig", "ziglang"):
            return words[:number]
    return ()


def _zig_target(triple: str) -> tuple[str, ...]:
    """What tells zig about a target, the oldest C library and processor included."""
    if "apple" in triple:
        return ("-target", "aarch64-macos.11.0")
    arch, floor = arch_of(triple), glibc_floor(triple)
    target = _ZIG_TARGET.get(arch, f"{arch}-linux-gnu")
    return ("-target", f"{target}.{floor.floor}" if floor else target, f"-mcpu={_ZIG_BASELINE.get(arch, 'baseline')}")


def _how_to_get_one(triple: str) -> str:
    if "android" in triple:
        return f"set ANDROID_NDK_HOME to an NDK, name its clang with --cc, or {EMIT_OBJECTS}"
    if "apple" in triple:
        return f"install zig (pip install ziglang), name a compiler with --cc, or {EMIT_OBJECTS}"
    package = "gcc" if is_native(triple) else "gcc-" + _CROSS_PREFIX.get(arch_of(triple), triple).rstrip("-")
    return (
        f"install one (Debian: apt-get install {package.replace('_', '-')}) or zig (pip install ziglang), "
        f"name one with --cc, or {EMIT_OBJECTS}"
    )


def run_tool(what: str, command: list[str], cwd: Path, errors: bool = False) -> str:
    """Standard output of a command, or what it wrote on standard error. Raises OutsideError, with the end of what it
    said, where it fails."""
    environment = {**os.environ, "LC_ALL": "C", "SOURCE_DATE_EPOCH": "0", "ZERO_AR_DATE": "1"}
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise OutsideError(f"{command[0]} does not run: {error.strerror}", "install a C compiler") from error
    if done.returncode != 0:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-12:])
        full = "No space left on device" in said
        raise OutsideError(
            f"{command[0]} failed (status {done.returncode}) when {what}:\n{said}",
            "free some space on the disk" if full else "this compiler may be broken; another can be named with --cc",
        )
    return done.stderr if errors else done.stdout
