"""The inner loops of GPU kernels, as NVIDIA's compiler leaves them in PTX: where nobody reads machine code."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mncc.kernels.gpu_target import WARP
from mncc.library.loops import Code, Instruction, Kind
from mncc.library.nvcc import FLAGS, Nvcc
from mncc.library.toolchain import run_tool

_ENTRY = re.compile(r"\.entry (\w+)\(")
_LABEL = re.compile(r"(\$L\w+):")
_BRANCH = re.compile(r"(?:@!?%p\d+ )?bra(?:\.uni)?\s+(\$L\w+);")
_INSTRUCTION = re.compile(r"(?:@!?%p\d+ )?([a-z]\w*(?:\.\w+)*)[\s;]")
_KINDS = {
    "fma.": Kind.MULTIPLY,
    "mma.": Kind.MULTIPLY,
    "ld.shared": Kind.SHARED,
    "ldmatrix.": Kind.SHARED,
    "ld.global": Kind.GLOBAL,
    "st.": Kind.STORE,
    "bar.": Kind.BARRIER,
}
"""By how the name begins."""
_MACS = {"mma.sync.aligned.m16n8k16": 16 * 8 * 16 // WARP, "mma.": 16 * 8 * 8 // WARP, "fma.rn.f16x2": 2}
"""The same of a lane's multiply-adds, where they are not one."""


def ptx_of(source: str, architecture: str, nvcc: Nvcc) -> str:
    """The PTX of a source. Raises OutsideError where nvcc does not know the architecture or refuses the source."""
    nvcc.check([architecture])
    with tempfile.TemporaryDirectory(prefix="mncc") as folder:
        path = Path(folder)
        (path / "kernels.cu").write_text(source, encoding="utf-8")
        command = [*nvcc.command, "-ptx", *FLAGS, f"-arch={architecture}", "-o", "kernels.ptx", "kernels.cu"]
        run_tool("compiling the kernels", command, path)
        return (path / "kernels.ptx").read_text(encoding="utf-8")


def ptx_codes(ptx: str) -> Mapping[str, Code]:
    """Symbol -> the kernel's instructions."""
    starts = [*_ENTRY.finditer(ptx)]
    ends = [found.start() for found in starts[1:]] + [len(ptx)]
    return {found[1]: _code(ptx[found.end() : end]) for found, end in zip(starts, ends, strict=True)}


def _code(text: str) -> Code:
    code = Code()
    for line in map(str.strip, text.splitlines()):
        if label := _LABEL.match(line):
            code.labels[label[1]] = len(code.instructions)
        elif found := _INSTRUCTION.match(line):
            branch = _BRANCH.match(line)
            code.instructions.append(_instruction(found[1], branch[1] if branch else ""))
    return code


def _instruction(name: str, target: str) -> Instruction:
    kind = next((kind for start, kind in _KINDS.items() if name.startswith(start)), Kind.OTHER)
    macs = next((macs for start, macs in _MACS.items() if name.startswith(start)), 1)
    # Four matrices of 8 x 8 are 128 bits of every thread.
    return Instruction(kind, ".v4." in name or ".x4." in name, target, macs, name.startswith(("mma.", "ldmatrix.")))
