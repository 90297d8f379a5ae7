"""Instructions of a library under qemu: its multiplications are counted to the last."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mncc.devices.counting import LibraryCount, count_library, count_program, find_emulator
from mncc.kernels.target import load_target
from mncc.language.diagnostic import DiagnosticError, OutsideError
from mncc.library.write import write_library
from mncc.reference import Twin
from mncc.report.progress import Progress
from mncc.verbs.cache import compiled
from mncc.verbs.job import Job, prepare

PRODUCT = """network product(classes = 32)
input image: 8 x 8 x 16
defaults padding symmetric

Input       Operator    c   s
8^2 x 16    conv2d 1x1  32  1
8^2 x 32    conv2d 1x1  64  1
"""

A76 = load_target("arm64-cortex-a76")

needs_qemu = pytest.mark.skipif(
    not (shutil.which("qemu-aarch64") and shutil.which("aarch64-linux-gnu-gcc")),
    reason="needs qemu-user and the aarch64 cross compiler",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Job]:
    """The library of PRODUCT for a Cortex-A76, and what it was made from."""
    folder = tmp_path_factory.mktemp("product")
    (folder / "product.mn").write_text(PRODUCT, encoding="utf-8")
    job = prepare(folder / "product.mn", {}, target="arm64-cortex-a76")
    with Progress() as progress:
        spec = compiled(job, progress)
    write_library(spec, folder / "library")
    return folder / "library", job


def count(built: tuple[Path, Job], *inputs: np.ndarray, cpu: str = "cortex-a76") -> LibraryCount:
    return count_library(built[0], "product", replace(built[1].target, emulated=cpu), inputs)


@needs_qemu
def test_the_multiplications_of_a_product_are_counted_exactly(built: tuple[Path, Job]) -> None:
    counted = count(built)
    macs = 8 * 8 * 16 * 32 + 8 * 8 * 32 * 64
    assert counted.whole.classes["multiply"] == macs / 4
    assert sum(kernel.classes["multiply"] for kernel in counted.kernels) == macs / 4
    assert macs / 4 < counted.whole.total < macs
    assert counted.whole.total == sum(counted.whole.classes.values())


@needs_qemu
def test_kernels_sum_up_to_the_whole(built: tuple[Path, Job]) -> None:
    counted = count(built)
    # Beside them there is what calls them, and in the run with marks the system calls of these.
    assert sum(kernel.total for kernel in counted.kernels) == pytest.approx(counted.whole.total, abs=3000)


@needs_qemu
def test_counts_are_the_same_every_time(built: tuple[Path, Job]) -> None:
    first, again = count(built), count(built)
    assert [k.total for k in first.kernels] == [k.total for k in again.kernels]


@needs_qemu
def test_what_is_counted_computes_on_the_given_input(built: tuple[Path, Job]) -> None:
    image = np.random.default_rng(0).standard_normal((1, 8, 8, 16), np.float32)
    job = built[1]
    expected = Twin(job.network, job.weights).run([image])[job.network.outputs[0].value]
    (got,) = count(built, image).outputs
    np.testing.assert_allclose(got, expected.ravel(), rtol=1e-5, atol=1e-5)


@needs_qemu
def test_a_cpu_without_the_instructions_is_said(built: tuple[Path, Job]) -> None:
    with pytest.raises(OutsideError, match="the kernels need lse"):
        count(built, cpu="cortex-a57")
    with pytest.raises(OutsideError, match="unable to find CPU model 'cortex-a1000'"):
        count(built, cpu="cortex-a1000")


def test_a_missing_emulator_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OutsideError, match="no qemu-aarch64") as error:
        find_emulator(A76)
    assert "apt-get install qemu-user" in str(error.value.help)


def test_other_architectures_are_refused() -> None:
    with pytest.raises(DiagnosticError, match="not for x86-64-v3"):
        find_emulator(load_target("x86-64-v3"))


def test_an_emulator_without_plugins_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _emulator(monkeypatch, tmp_path, 'case "$*" in *--version*) echo "qemu-aarch64 version 7.2.0";; *) exit 1;; esac')
    with pytest.raises(OutsideError, match="failed with status 1"):
        count_program(["/bin/true"], A76)
    refusal = "echo 'qemu: unknown option -plugin' >&2; exit 1"
    _emulator(monkeypatch, tmp_path, f'case "$*" in *--version*) echo "qemu version 7.2.0";; *) {refusal};; esac')
    with pytest.raises(OutsideError, match="does not take the counting plugin") as error:
        count_program(["/bin/true"], A76)
    assert "qemu-user-static" in str(error.value.help)


@pytest.mark.usefixtures("without_zig")
def test_a_machine_without_a_compiler_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _emulator(monkeypatch, tmp_path, "echo qemu-aarch64 version 7.2.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(OutsideError, match="counting needs a C compiler for this machine"):
        count_program(["/bin/true"], A76)


def test_an_emulator_that_counts_nothing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _emulator(monkeypatch, tmp_path, "echo qemu-aarch64 version 9.0.1")
    with pytest.raises(OutsideError, match="left no complete count"):
        count_program(["/bin/true"], A76)


def test_a_program_that_is_no_emulator_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _emulator(monkeypatch, tmp_path, "echo hello")
    with pytest.raises(OutsideError, match="does not tell its version, but `hello`"):
        count_program(["/bin/true"], A76)


def _emulator(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    """A script in qemu's place."""
    file = folder / "qemu-aarch64"
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
