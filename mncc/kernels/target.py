"""What a target is: the facts in targets/NAME.toml, which tiles, caches and code generation are chosen from."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from mncc.kernels.gpu_target import GpuTarget, read_gpu
from mncc.kernels.native import best_target, this_machine
from mncc.kernels.refused import refusal
from mncc.language.diagnostic import Diagnostic, DiagnosticError
from mncc.language.resources import data_folder

NATIVE = "native"


@dataclass(frozen=True)
class Target:
    """One machine. `features` are added to (+) or taken from (-) what `cpu` has, by LLVM's names; `llvm` are options of
    its code generator, each `-name:type=value`; `requires` is what a library asks the processor for before it runs;
    `parts` are the Arm processors that it is for, as MIDR_EL1 has them (implementer << 12 | part), which tells targets
    with the same instructions apart; `emulated` is qemu's name of a CPU that has just these instructions, "" where
    there is none.

    `lanes` fp32 elements fill the widest vector register, of which there are `registers`; `narrow` are the vector
    widths that tiles may have; those from `full` lanes on use the multipliers fully. `inputs` is where a product's
    multiplication takes the number from that is the same for all lanes: from `memory`, from a `lane` of a register, or
    from all of a `register`. `intrinsics`: whether LLVM's fma, maximum and minimum (those of IEEE 754-2019, NaN where
    an operand is one) are one instruction each.

    A slot is the time of a full vector's multiplication at the peak. A sum waits `fma_latency` slots for the one before
    it, and in an order that is never perfect: with fewer than `enough_sums` in a tile a step takes half a slot more.
    Of a long reduction whose inputs come one at a time, `unroll` steps are an iteration of the loop. `strassen`: it was
    found that large products gain by Strassen's algorithm as much as the cost model says.
    `loads` vectors are loaded in a slot beside the multiplications, and each costs `load_slots` nevertheless.

    Caches in bytes, per core. `l2_bytes`, `l3_bytes` and `memory_bytes` are what arrives from there in one slot, as a
    rule; `l3_most` is what one core can get from its L3 cache.
    `own_ahead`: whether products gain by fetching their own next panel of weights or rows of input."""

    name: str
    description: str
    triple: str
    cpu: str
    features: tuple[str, ...]
    llvm: tuple[str, ...]
    float_abi: str
    requires: tuple[str, ...]
    parts: tuple[int, ...]
    emulated: str
    lanes: int
    narrow: tuple[int, ...]
    full: int
    registers: int
    inputs: Literal["memory", "lane", "register"]
    intrinsics: bool
    fma_latency: float
    enough_sums: int
    unroll: int
    strassen: bool
    loads: float
    load_slots: float
    l1: int
    l2: int
    l3: int
    own_ahead: bool
    l2_bytes: float
    l3_bytes: float
    l3_most: float
    memory_bytes: float

    @property
    def computes_half(self) -> bool:
        """True where the CPU has arithmetic of float16 (FEAT_FP16 of armv8.2)."""
        return self.triple.startswith("aarch64") and "fullfp16" in self.requires

    @property
    def converts_half(self) -> bool:
        """True where the CPU has instructions that make float32 of float16 (F16C; all of armv8; VFPv4)."""
        return self.triple.startswith("aarch64") or not {"f16c", "vfp4"}.isdisjoint(self.requires)


@dataclass(frozen=True)
class UnknownTarget(Diagnostic):
    """--target names no file of targets/."""

    name: str
    known: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"there is no target `{self.name}`"

    @property
    def help(self) -> str:
        close = difflib.get_close_matches(self.name, self.known, n=3, cutoff=0.6)
        near = list(dict.fromkeys((*(t for t in _of_architecture(self.name) if t in self.known), *close)))[:3]
        listed = near or self.known
        return (
            f"{'the nearest are' if near else 'targets are'} {', '.join(f'`{n}`' for n in listed)}; see `mncc targets`"
        )


def _of_architecture(name: str) -> tuple[str, ...]:
    """The targets for any processor that a triple, or what `uname -m` says, may mean."""
    if re.match(r"aarch64|arm64|armv[89]", name.lower()):
        return ("arm64",)
    if re.match(r"arm|thumb", name.lower()):
        return ("armv7",)
    return ("x86-64-v3", "x86-64-v4") if re.match(r"x86[-_]64|amd64", name.lower()) else ()


@dataclass(frozen=True)
class UnknownMachine(Diagnostic):
    """`native` on a processor that no target describes."""

    arch: str

    @property
    def title(self) -> str:
        needed = {"x86_64": " (AVX2 and FMA at least)", "armv7a": " (NEON and VFPv4)"}.get(self.arch, "")
        return f"this machine's processor, {self.arch}, lacks the instructions of every target{needed}"

    @property
    def help(self) -> str:
        return "build for another machine: `mncc targets` lists what --target can name"


@dataclass(frozen=True)
class NoCpu(Diagnostic):
    """--target names a GPU where only CPUs can be."""

    name: str

    @property
    def title(self) -> str:
        return f"`{self.name}` is a GPU"

    @property
    def help(self) -> str:
        return "`mncc build`, `run`, `verify`, `emit` and `bench --static` know GPUs; this is for CPUs so far"


def load_machine(name: str) -> Target | GpuTarget:
    """The CPU or GPU of that name; `native` is the best CPU that this machine can run. Raises DiagnosticError."""
    if name == NATIVE:
        return native_target()
    known = _names()
    if name not in known:
        refused = refusal(name)
        if refused is not None:
            raise DiagnosticError([refused])
        raise DiagnosticError([UnknownTarget(name, (NATIVE, *known))])
    return _read(data_folder("targets") / f"{name}.toml")


def load_target(name: str) -> Target:
    """As `load_machine`, for CPUs alone."""
    found = load_machine(name)
    if isinstance(found, GpuTarget):
        raise DiagnosticError([NoCpu(name)])
    return found


def target_names() -> list[tuple[str, str]]:
    """Every target with what it means, `native` first."""
    try:
        here = native_target().name
    except DiagnosticError:
        here = "none of these"
    return [(NATIVE, f"the machine mncc runs on: {here}"), *((each.name, each.description) for each in _targets())]


def cpu_targets() -> list[Target]:
    """Every CPU, in order of the names."""
    return [target for target in _targets() if isinstance(target, Target)]


def gpu_targets() -> list[GpuTarget]:
    """Every GPU, in order of the names."""
    return [target for target in _targets() if isinstance(target, GpuTarget)]


def _targets() -> Iterator[Target | GpuTarget]:
    return (_read(data_folder("targets") / f"{name}.toml") for name in _names())


def native_target() -> Target:
    """The target that this machine runs best. Raises DiagnosticError where it can run none."""
    found = best_target(this_machine(), cpu_targets())
    if found is None:
        raise DiagnosticError([UnknownMachine(this_machine().arch)])
    return found


@cache
def _names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in data_folder("targets").glob("*.toml")))


@cache
def _read(path: Path) -> Target | GpuTarget:
    data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    if data.get("kind") == "cuda":
        return read_gpu(path.stem, data)
    vectors, core, caches, arriving = data["vectors"], data["core"], data["cache"], data["bytes_a_slot"]
    return Target(
        name=path.stem,
        description=data["description"],
        triple=data["triple"],
        cpu=data["cpu"],
        features=tuple(data.get("features", ())),
        llvm=tuple(data.get("llvm", ())),
        float_abi=data.get("float_abi", ""),
        requires=tuple(data["requires"]),
        parts=tuple(data.get("parts", ())),
        emulated=data.get("emulated", ""),
        lanes=vectors["lanes"],
        narrow=tuple(vectors["narrow"]),
        full=vectors["full"],
        registers=vectors["registers"],
        inputs=vectors["inputs"],
        intrinsics=vectors["intrinsics"],
        fma_latency=core["fma_latency"],
        enough_sums=core.get("enough_sums", 0),
        unroll=core.get("unroll", 1),
        strassen=core.get("strassen", False),
        loads=core["loads"],
        load_slots=core["load_slots"],
        l1=caches["l1"],
        l2=caches["l2"],
        l3=caches["l3"],
        own_ahead=caches.get("own_ahead", False),
        l2_bytes=arriving["l2"],
        l3_bytes=arriving["l3"],
        l3_most=arriving.get("l3_most", arriving["l2"]),
        memory_bytes=arriving["memory"],
    )
