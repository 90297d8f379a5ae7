"""nvcc: CUDA C++ -> one fatbin with machine code for several architectures."""

from __future__ import annotations

import importlib.util
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mncc.language.diagnostic import OutsideError
from mncc.library.toolchain import run_tool

FLAGS = ("-O3", "-std=c++17", "--diag-suppress=177")
"""No fast-math. Diagnostic 177: a variable that the generated text declares and never uses."""


@dataclass(frozen=True)
class Nvcc:
    """`command` is nvcc's; `version` CUDA's, major and minor."""

    command: tuple[str, ...]
    version: tuple[int, int]

    def check(self, architectures: Sequence[str]) -> None:
        """Raises OutsideError where it does not compile for one of the architectures (sm_80, ...)."""
        said = run_tool("asked for its architectures", [*self.command, "--list-gpu-code"], Path.cwd())
        known = sorted(set(re.findall(r"sm_\d+[a-z]?\b", said)), key=_age)
        unknown = [name for name in architectures if name not in known]
        if unknown:
            raise OutsideError(
                f"nvcc {'.'.join(map(str, self.version))} does not compile for {', '.join(unknown)}: "
                f"it knows {', '.join(known)}",
                "name other targets, or put another release of nvcc first on the PATH",
            )


def find_nvcc() -> Nvcc:
    """nvcc from the PATH, else from the Python package nvidia-cuda-nvcc. Raises OutsideError where there is none."""
    for candidate in _candidates():
        if shutil.which(candidate):
            said = run_tool("asked for its version", [candidate, "--version"], Path.cwd())
            found = re.search(r"release (\d+)\.(\d+)", said)
            if found:
                return Nvcc((candidate,), (int(found[1]), int(found[2])))
    raise OutsideError(
        "no CUDA compiler: looked for nvcc on the PATH and in the Python package nvidia-cuda-nvcc",
        "pip install 'mncc[cuda]', or install NVIDIA's toolkit; `mncc emit --stage cuda` prints the source without it",
    )


def _candidates() -> Iterator[str]:
    yield "nvcc"
    yield from packaged_tools("nvcc")


def packaged_tools(name: str) -> list[str]:
    """The paths of a tool in NVIDIA's Python packages, that of CUDA 12 last."""
    found = [str(path) for folder in _packaged() for path in folder.glob(f"*/bin/{name}")]
    return sorted(found, key=lambda path: f"cuda_{name}" in path)  # as CUDA 12's is called


def _packaged() -> list[Path]:
    """The folders of NVIDIA's Python packages."""
    spec = importlib.util.find_spec("nvidia")
    return [Path(folder) for folder in spec.submodule_search_locations or ()] if spec else []


def ptx_of(architectures: Sequence[str]) -> tuple[str, ...]:
    """The virtual architectures (compute_80, ...) whose PTX a library holds: that of the oldest, which drivers compile
    for what lies between the others, and that of the newest, for what is newer."""
    ends = (min(architectures, key=_age), max(architectures, key=_age))
    return tuple(dict.fromkeys(name.replace("sm_", "compute_") for name in ends))


def compile_fatbin(source: str, architectures: Sequence[str], nvcc: Nvcc) -> bytes:
    """Machine code for every architecture (sm_80, ...) and PTX of `ptx_of` them, as one fatbin.

    Raises OutsideError where nvcc does not know an architecture or fails. The same source gives the same bytes.
    """
    nvcc.check(architectures)
    codes = [*architectures, *ptx_of(architectures)]
    options = [f"-gencode=arch=compute_{code.rpartition('_')[2]},code={code}" for code in codes]
    with tempfile.TemporaryDirectory(prefix="mncc") as folder:
        path = Path(folder)
        (path / "kernels.cu").write_text(source, encoding="utf-8")
        command = [*nvcc.command, "-fatbin", *FLAGS, *options, "-o", "kernels.fatbin", "kernels.cu"]
        run_tool("compiling the kernels", command, path)
        return (path / "kernels.fatbin").read_bytes()


def _age(architecture: str) -> tuple[int, str]:
    """sm_90 before sm_90a before sm_100."""
    found = re.fullmatch(r"sm_(\d+)([a-z]?)", architecture)
    return (int(found[1]), found[2]) if found else (0, architecture)
