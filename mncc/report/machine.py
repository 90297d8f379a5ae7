"""The machine that something was measured on, without its name."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from mncc.kernels.native import read_cpuinfo


@dataclass(frozen=True)
class Machine:
    """The processor as it calls itself, its architecture, how many CPUs this process may use, and the system."""

    cpu: str
    architecture: str
    cpus: int
    system: str


def this_machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> Machine:
    """This one. The processor is empty where Linux does not tell it."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return Machine(cpu_name(text), platform.machine(), len(os.sched_getaffinity(0)), platform.system())


def cpu_name(cpuinfo: str) -> str:
    """The processor as the text of /proc/cpuinfo calls it; empty where that does not."""
    # x86 says `model name`, some ARM kernels only `Model` or `Hardware`.
    pairs = (line.partition(":") for line in cpuinfo.splitlines())
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    return next((fields[name] for name in ("model name", "Model", "Hardware") if fields.get(name)), "")


def processor_kind(cpuinfo: str) -> str:
    """What is the same of machines whose times can be compared: of Arm processors their numbers, which tell them apart
    where Linux has no name for them, and boards with other names have too; else the name."""
    parts = read_cpuinfo("", cpuinfo).parts
    return ", ".join(f"Arm processor {part:#x}" for part in sorted(parts)) if parts else cpu_name(cpuinfo)
