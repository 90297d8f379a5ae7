"""What is said of the machine: the processor, never a name."""

from __future__ import annotations

import platform
from dataclasses import astuple
from pathlib import Path

import pytest

from mncc.report.machine import processor_kind, this_machine


@pytest.mark.parametrize(
    ("text", "cpu"),
    [
        (
            "processor\t: 0\nmodel name\t: AMD EPYC: fast\n\nprocessor\t: 1\nmodel name\t: AMD EPYC: fast\n",
            "AMD EPYC: fast",
        ),
        ("processor : 0\nBogoMIPS : 108\n\nModel : Raspberry Pi 4\n", "Raspberry Pi 4"),
        ("", ""),
    ],
)
def test_processors(text: str, cpu: str, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    machine = this_machine(tmp_path / "cpuinfo")
    assert machine.cpu == cpu and machine.cpus >= 1


def test_no_host_name() -> None:
    machine = this_machine(Path("/nowhere"))
    assert machine.cpu == "" and machine.architecture == platform.machine()
    assert platform.node() not in astuple(machine)


def arm(*parts: str, name: str = "") -> str:
    """/proc/cpuinfo on arm64, which has no model name; some boards tell their own."""
    return "\n".join([*(f"CPU implementer\t: 0x41\nCPU part\t: {part}\n" for part in parts), name])


def test_arm_processors_are_told_apart_without_a_name() -> None:
    assert processor_kind(arm("0xd0b", "0xd0b")) == "Arm processor 0x41d0b"
    assert processor_kind(arm("0xd08")) != processor_kind(arm("0xd0b"))
    assert processor_kind(arm("0xd05", "0xd0b")) == "Arm processor 0x41d05, Arm processor 0x41d0b"


def test_boards_of_two_revisions_are_of_one_kind() -> None:
    first, second = (arm("0xd08", name=f"Model\t\t: Raspberry Pi 4 Model B Rev 1.{n}\n") for n in (1, 5))
    assert processor_kind(first) == processor_kind(second)
    assert processor_kind("model name\t: AMD EPYC\n") == "AMD EPYC"
