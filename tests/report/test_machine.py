"""What is said of the machine: the processor, never a name."""

from __future__ import annotations

import platform
from dataclasses import astuple
from pathlib import Path

import pytest

from mncc.report.machine import this_machine


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
