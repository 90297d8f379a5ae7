"""GPU targets: read from their files, one door for both kinds, and the occupancy that NVIDIA's calculator gives."""

from __future__ import annotations

import pytest

from mncc.kernels.gpu_target import GpuTarget
from mncc.kernels.target import Target, load_machine, load_target, target_names
from mncc.language.diagnostic import DiagnosticError
from mncc.report.failures import UsageError
from mncc.verbs.job import find_target

GPUS = [name for name, _ in target_names() if name.startswith("cuda-")]


def test_every_architecture_of_the_contract_is_there() -> None:
    assert GPUS == ["cuda-sm75", "cuda-sm80", "cuda-sm86", "cuda-sm87", "cuda-sm89", "cuda-sm90"]
    for name in GPUS:
        gpu = load_machine(name)
        assert isinstance(gpu, GpuTarget)
        assert gpu.architecture.replace("_", "") == name.removeprefix("cuda-")
        assert 48 << 10 < gpu.block_shared <= gpu.shared


def test_peaks_are_those_of_the_data_sheets() -> None:
    peaks = {name: round(load_machine(name).flops / 1e12, 1) for name in ("cuda-sm80", "cuda-sm86", "cuda-sm90")}  # type: ignore[union-attr]
    assert peaks == {"cuda-sm80": 19.5, "cuda-sm86": 35.6, "cuda-sm90": 66.9}


@pytest.mark.parametrize(
    "name, threads, registers, shared, blocks",
    [
        # By the fields that bind in turn: threads, registers, shared memory, blocks; and one that does not fit.
        ("cuda-sm80", 1024, 32, 0, 2),
        ("cuda-sm80", 256, 128, 0, 2),
        ("cuda-sm80", 128, 32, 48 << 10, 3),
        ("cuda-sm80", 32, 16, 0, 32),
        ("cuda-sm86", 128, 32, 0, 12),
        ("cuda-sm75", 128, 32, 65537, 0),
    ],
)
def test_resident_blocks(name: str, threads: int, registers: int, shared: int, blocks: int) -> None:
    gpu = load_machine(name)
    assert isinstance(gpu, GpuTarget)
    assert gpu.resident_blocks(threads, registers, shared) == blocks


def test_one_door_for_both_and_another_for_cpus() -> None:
    assert isinstance(load_machine("x86-64-v4"), Target)
    with pytest.raises(DiagnosticError, match="GPU"):
        load_target("cuda-sm80")
    with pytest.raises(UsageError) as refused:
        find_target("cuda-sm80")
    assert "mncc build" in str(refused.value.help)
