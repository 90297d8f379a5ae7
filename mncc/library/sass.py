"""The inner loops of GPU kernels in machine code (SASS), as NVIDIA's disassembler prints it."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mncc.kernels.gpu_target import WARP
from mncc.library.loops import Code, Instruction, Kind
from mncc.library.nvcc import FLAGS, Nvcc, packaged_tools
from mncc.library.toolchain import run_tool

_KERNEL = re.compile(r"\.text\.(\w+):")
_LABEL = re.compile(r"(\.L\w+):")
_INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?(?P<name>[A-Z]\w*(?:\.\w+)*)(?P<operands>[^;]*);")
_TARGET = re.compile(r"`\((\.L\w+)\)")
_CONSTANT = re.compile(r"\s*R\d+, -?RZ, RZ,")
"""The operands of a half-precision multiply-add that only writes a constant."""
_MULTIPLY = ("FFMA", "HFMA2", "HMMA", "HGMMA")
_MATRICES = re.compile(r"HMMA\.(?P<rows>16)(?P<columns>8)(?P<depth>8|16)\.")
"""The sizes of matrices that tensor cores multiply."""


def find_nvdisasm() -> str | None:
    """NVIDIA's disassembler from the PATH, else from the Python package nvidia-cuda-nvdisasm; None where there is
    none."""
    return next((name for name in ("nvdisasm", *packaged_tools("nvdisasm")) if shutil.which(name)), None)


def sass_of(source: str, architecture: str, nvcc: Nvcc, nvdisasm: str) -> str:
    """The machine code of a source. Raises OutsideError where nvcc does not know the architecture or refuses the
    source, or where the disassembler is too old for what it made."""
    nvcc.check([architecture])
    with tempfile.TemporaryDirectory(prefix="mncc") as folder:
        path = Path(folder)
        (path / "kernels.cu").write_text(source, encoding="utf-8")
        command = [*nvcc.command, "-cubin", *FLAGS, f"-arch={architecture}", "-o", "kernels.cubin", "kernels.cu"]
        run_tool("compiling the kernels", command, path)
        return run_tool("reading the kernels' machine code", [nvdisasm, "-c", "kernels.cubin"], path)


def sass_codes(sass: str) -> Mapping[str, Code]:
    """Symbol -> the kernel's instructions."""
    codes: dict[str, Code] = {}
    code = Code()
    for line in map(str.strip, sass.splitlines()):
        if kernel := _KERNEL.match(line):
            code = codes[kernel[1]] = Code()
        elif label := _LABEL.match(line):
            code.labels[label[1]] = len(code.instructions)
        elif (found := _INSTRUCTION.match(line)) and found["name"] != "NOP":
            code.instructions.append(_instruction(found["name"], found["operands"]))
    return codes


def _instruction(name: str, operands: str) -> Instruction:
    wide = ".128" in name
    if name.startswith("LDG"):
        return Instruction(Kind.GLOBAL, wide)
    if name.startswith("LDS"):
        # LDSM fills the fragments of tensor cores: four matrices of 8 x 8 are 128 bits of every thread.
        return Instruction(Kind.SHARED, wide or "88.4" in name, matrix=name.startswith("LDSM"))
    if name.startswith(_MULTIPLY) and not _CONSTANT.match(operands):
        return Instruction(Kind.MULTIPLY, macs=_macs(name), matrix="MMA." in name and not name.startswith("HFMA2"))
    if name.startswith(("STG", "STS")):
        return Instruction(Kind.STORE)
    if name.startswith("BAR"):
        return Instruction(Kind.BARRIER)
    target = _TARGET.search(operands) if name.startswith("BRA") else None
    return Instruction(Kind.OTHER, target=target[1] if target else "")


def _macs(name: str) -> int:
    """Of one lane of a warp, by one instruction."""
    if found := _MATRICES.match(name):
        return int(found["rows"]) * int(found["columns"]) * int(found["depth"]) // WARP
    return 2 if name.startswith("HFMA2") else 1
