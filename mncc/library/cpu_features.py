"""Where a processor says that it has an instruction set: one row a feature, by LLVM's names, as in targets/*.toml."""

from __future__ import annotations

from dataclasses import dataclass

_A, _B, _C, _D = range(4)
_AVX, _AVX512, _AMX = 0x6, 0xE6, 0x60000
"""Bits of XCR0: the operating system saves ymm; zmm and mask registers; tiles."""


@dataclass(frozen=True)
class CpuFeature:
    """x86: bit `bit` of register `reg` (0 to 3: eax to edx) of CPUID leaf, subleaf, and the bits of XCR0 it needs.
    Linux on Arm: `leaf` is 16 (AT_HWCAP) or 26 (AT_HWCAP2), `bit` its bit. Apple: `key` names a sysctl."""

    name: str
    leaf: int
    subleaf: int
    reg: int
    bit: int
    xcr0: int = 0
    key: str = ""


_X86 = (
    CpuFeature("cx8", 1, 0, _D, 8),
    CpuFeature("cmov", 1, 0, _D, 15),
    CpuFeature("mmx", 1, 0, _D, 23),
    CpuFeature("fxsr", 1, 0, _D, 24),
    CpuFeature("sse", 1, 0, _D, 25),
    CpuFeature("sse2", 1, 0, _D, 26),
    CpuFeature("sse3", 1, 0, _C, 0),
    CpuFeature("pclmul", 1, 0, _C, 1),
    CpuFeature("ssse3", 1, 0, _C, 9),
    CpuFeature("fma", 1, 0, _C, 12, _AVX),
    CpuFeature("cx16", 1, 0, _C, 13),
    CpuFeature("sse4.1", 1, 0, _C, 19),
    CpuFeature("sse4.2", 1, 0, _C, 20),
    CpuFeature("crc32", 1, 0, _C, 20),
    CpuFeature("movbe", 1, 0, _C, 22),
    CpuFeature("popcnt", 1, 0, _C, 23),
    CpuFeature("aes", 1, 0, _C, 25),
    CpuFeature("xsave", 1, 0, _C, 26),
    CpuFeature("avx", 1, 0, _C, 28, _AVX),
    CpuFeature("f16c", 1, 0, _C, 29, _AVX),
    CpuFeature("rdrnd", 1, 0, _C, 30),
    CpuFeature("fsgsbase", 7, 0, _B, 0),
    CpuFeature("bmi", 7, 0, _B, 3),
    CpuFeature("avx2", 7, 0, _B, 5, _AVX),
    CpuFeature("bmi2", 7, 0, _B, 8),
    CpuFeature("avx512f", 7, 0, _B, 16, _AVX512),
    CpuFeature("avx512dq", 7, 0, _B, 17, _AVX512),
    CpuFeature("adx", 7, 0, _B, 19),
    CpuFeature("avx512ifma", 7, 0, _B, 21, _AVX512),
    CpuFeature("clflushopt", 7, 0, _B, 23),
    CpuFeature("clwb", 7, 0, _B, 24),
    CpuFeature("avx512cd", 7, 0, _B, 28, _AVX512),
    CpuFeature("sha", 7, 0, _B, 29),
    CpuFeature("avx512bw", 7, 0, _B, 30, _AVX512),
    CpuFeature("avx512vl", 7, 0, _B, 31, _AVX512),
    CpuFeature("avx512vbmi", 7, 0, _C, 1, _AVX512),
    CpuFeature("avx512vbmi2", 7, 0, _C, 6, _AVX512),
    CpuFeature("gfni", 7, 0, _C, 8),
    CpuFeature("vaes", 7, 0, _C, 9, _AVX),
    CpuFeature("vpclmulqdq", 7, 0, _C, 10, _AVX),
    CpuFeature("avx512vnni", 7, 0, _C, 11, _AVX512),
    CpuFeature("avx512bitalg", 7, 0, _C, 12, _AVX512),
    CpuFeature("avx512vpopcntdq", 7, 0, _C, 14, _AVX512),
    CpuFeature("rdpid", 7, 0, _C, 22),
    CpuFeature("avx512vp2intersect", 7, 0, _D, 8, _AVX512),
    CpuFeature("amx-bf16", 7, 0, _D, 22, _AMX),
    CpuFeature("avx512fp16", 7, 0, _D, 23, _AVX512),
    CpuFeature("amx-tile", 7, 0, _D, 24, _AMX),
    CpuFeature("amx-int8", 7, 0, _D, 25, _AMX),
    CpuFeature("avxvnni", 7, 1, _A, 4, _AVX),
    CpuFeature("avx512bf16", 7, 1, _A, 5, _AVX512),
    CpuFeature("avxifma", 7, 1, _A, 23, _AVX),
    CpuFeature("avxvnniint8", 7, 1, _D, 4, _AVX),
    CpuFeature("xsaveopt", 13, 1, _A, 0),
    CpuFeature("xsavec", 13, 1, _A, 1),
    CpuFeature("xsaves", 13, 1, _A, 3),
    CpuFeature("sahf", 0x80000001, 0, _C, 0),
    CpuFeature("lzcnt", 0x80000001, 0, _C, 5),
    CpuFeature("sse4a", 0x80000001, 0, _C, 6),
    CpuFeature("prfchw", 0x80000001, 0, _C, 8),
    CpuFeature("64bit", 0x80000001, 0, _D, 29),
)

_AARCH64 = (
    CpuFeature("fp-armv8", 16, 0, 0, 0),
    CpuFeature("neon", 16, 0, 0, 1),
    CpuFeature("aes", 16, 0, 0, 3),
    CpuFeature("sha2", 16, 0, 0, 6),
    CpuFeature("crc", 16, 0, 0, 7),
    CpuFeature("lse", 16, 0, 0, 8),
    CpuFeature("fullfp16", 16, 0, 0, 10),
    CpuFeature("rdm", 16, 0, 0, 12),
    CpuFeature("rcpc", 16, 0, 0, 15),
    CpuFeature("dotprod", 16, 0, 0, 20),
    CpuFeature("sve", 16, 0, 0, 22),
    CpuFeature("fp16fml", 16, 0, 0, 23),
    CpuFeature("sve2", 26, 0, 0, 1),
    CpuFeature("i8mm", 26, 0, 0, 13),
    CpuFeature("bf16", 26, 0, 0, 14),
)

_ARM = (
    CpuFeature("neon", 16, 0, 0, 12),
    CpuFeature("vfp3", 16, 0, 0, 13),
    CpuFeature("vfp4", 16, 0, 0, 16),
)

_APPLE = tuple(
    CpuFeature(name, 0, 0, 0, 0, key=f"hw.optional.{key}")
    for name, key in (
        ("neon", "arm.AdvSIMD"),
        ("crc", "armv8_crc32"),
        ("lse", "arm.FEAT_LSE"),
        ("rdm", "arm.FEAT_RDM"),
        ("rcpc", "arm.FEAT_LRCPC"),
        ("fullfp16", "arm.FEAT_FP16"),
        ("fp16fml", "arm.FEAT_FHM"),
        ("dotprod", "arm.FEAT_DotProd"),
        ("bf16", "arm.FEAT_BF16"),
        ("i8mm", "arm.FEAT_I8MM"),
    )
)

_BY_ARCH = {"x86_64": _X86, "aarch64": _AARCH64, "armv7a": _ARM, "arm": _ARM}


def feature_rows(triple: str, names: tuple[str, ...]) -> tuple[CpuFeature, ...]:
    """The rows for a target's features; a leading + is LLVM's. Raises ValueError for a name without a row."""
    rows = _APPLE if "apple" in triple else _BY_ARCH.get(triple.split("-")[0], ())
    known = {row.name: row for row in rows}
    wanted = [name.removeprefix("+") for name in names]
    missing = [name for name in wanted if name not in known]
    if missing:
        raise ValueError(f"no row in mncc/library/cpu_features.py says how to ask a {triple} for {', '.join(missing)}")
    return tuple(known[name] for name in wanted)
