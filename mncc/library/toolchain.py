"""The C compiler of the machine, and the binutils that belong to it."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from mncc.language.diagnostic import OutsideError

_SAME_MACHINE = {"amd64": "x86_64", "arm64": "aarch64", "armv7l": "armv7a"}
_CROSS_PREFIX = {"x86_64": "x86_64-linux-gnu-", "aarch64": "aarch64-linux-gnu-", "armv7a": "arm-linux-gnueabihf-"}


@dataclass(frozen=True)
class Toolchain:
    """`cc` is the compiler's command line; `version` its first line about itself, which the manifest keeps."""

    cc: tuple[str, ...]
    version: str

    def compile(self, what: str, arguments: list[str], cwd: Path) -> None:
        """Runs the compiler in `cwd`; `what` says in an error what it was doing."""
        run_tool(what, [*self.cc, *arguments], cwd)

    def tool(self, name: str) -> str:
        """The compiler's own objcopy or ar: the right one where it compiles for another machine."""
        answer = run_tool(f"asked for its {name}", [*self.cc, f"-print-prog-name={name}"], Path.cwd()).strip()
        found = shutil.which(answer)
        if found is None:
            raise OutsideError(f"the compiler {shlex.join(self.cc)} has no {name}", "install binutils")
        return found

    def library(self, name: str) -> bool:
        """Whether the linker would find a library file of this name."""
        answer = run_tool(f"asked for {name}", [*self.cc, f"-print-file-name={name}"], Path.cwd()).strip()
        return answer != name


def find_toolchain(triple: str, cc: str | None = None) -> Toolchain:
    """The compiler for a target: `cc`, else the environment's CC, else the first that the machine has.

    `cc` and CC may hold arguments. Raises OutsideError where there is none or it does not run.
    """
    arch = _architecture(triple)
    native = is_native(triple)
    chosen = cc or (os.environ.get("CC") if native else None)
    if chosen:
        candidates = [tuple(shlex.split(chosen))]
    elif native:
        candidates = [("cc",), ("gcc",), ("clang",)]
    else:
        candidates = [(f"{_CROSS_PREFIX.get(arch, arch + '-linux-gnu-')}gcc",)]
    found = next((words for words in candidates if words and shutil.which(words[0])), None)
    if found is None:
        names = ", ".join(shlex.join(words) for words in candidates)
        package = "gcc" if native or chosen else "gcc-" + candidates[0][0].removesuffix("-gcc").replace("_", "-")
        raise OutsideError(
            f"no C compiler for {triple}: looked for {names}",
            f"install one (Debian: apt-get install {package}), or name one in the environment variable CC",
        )
    return Toolchain(found, run_tool("asked for its version", [*found, "--version"], Path.cwd()).split("\n")[0])


def is_native(triple: str) -> bool:
    """Whether programs for `triple` are for this machine's system and architecture."""
    machine = platform.machine().lower()
    system = "linux" in triple and "android" not in triple
    return system and _SAME_MACHINE.get(machine, machine) == _architecture(triple)


def _architecture(triple: str) -> str:
    arch = triple.split("-")[0]
    return "armv7a" if arch.startswith("armv7") else arch


def run_tool(what: str, command: list[str], cwd: Path) -> str:
    """Standard output of a command. Raises OutsideError, with the end of what it said, where it fails."""
    environment = {**os.environ, "LC_ALL": "C", "SOURCE_DATE_EPOCH": "0"}
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
            "free some space on the disk" if full else "this compiler may be broken; another can be named in CC",
        )
    return done.stdout
