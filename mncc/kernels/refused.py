"""Names of machines that no target can be for, and why: what people type after reading `uname -m` or a triple."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mncc.language.diagnostic import Diagnostic

_BIG_ENDIAN = re.compile(
    r"(aarch64|arm64)[_-]?(be|eb)\b|armv\d+[a-z]*?[_-]?(be|eb|b)\b|armeb|mips(64)?\b|powerpc|ppc(64)?\b|s390x?|sparc"
)
_NO_NEON = re.compile(
    r"armv[2-6]|armel\b|arm-(linux|none)-(gnu)?eabi\b|arm[79]\w|arm11|arm1[01]\d\d|cortex-m\d|thumb(?!v7a|v7neon|v8a)"
)
_X86_32 = re.compile(r"i[3-6]86\b|x86(-32)?$|ia-?32\b")


@dataclass(frozen=True)
class RefusedMachine(Diagnostic):
    """--target names a machine that kernels cannot run on."""

    name: str
    why: str
    instead: str

    @property
    def title(self) -> str:
        return f"there is no target `{self.name}`: {self.why}"

    @property
    def help(self) -> str:
        return self.instead


def refusal(name: str) -> RefusedMachine | None:
    """Why no target can be called so, where that is known."""
    text = name.lower()
    if _BIG_ENDIAN.match(text):
        why = "it is big-endian, and kernels and packed weights are little-endian"
        return RefusedMachine(name, why, "`arm64` and `armv7` are for little-endian systems, as nearly all on Arm are")
    if _NO_NEON.match(text):
        why = "it is 32-bit Arm without NEON, and kernels need its vectors and the fused multiply-add of VFPv4"
        return RefusedMachine(name, why, "`armv7` is for Cortex-A7, A15 and later ones with NEON, hard float")
    if _X86_32.match(text):
        why = "it is 32-bit x86, and kernels need AVX2 in 64-bit mode"
        return RefusedMachine(name, why, "`x86-64-v3` is for processors since 2013 (Intel) and 2017 (AMD)")
    return None
