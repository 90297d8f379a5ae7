"""One library for several processors: what it chooses, and what it stores once."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mncc.library.spec import LibrarySpec
from mncc.library.variants import join_variants
from mncc.library.write import LibraryFiles, write_library, write_objects
from tests.library.conftest import PROGRAMS, WARNINGS, says
from tests.library.toy import KERNELS, TRIPLE, toy_spec

ARM = "aarch64-linux-gnu"
PUBLIC = {"toy_model", "toy_run", "toy_pool_create", "toy_pool_destroy"}
Compile = Callable[..., Path]


def variant(
    target: str,
    features: tuple[str, ...] = (),
    parts: tuple[int, ...] = (),
    triple: str = TRIPLE,
    seed: int = 0,
    more: int = 0,
) -> LibrarySpec:
    """The toy network as it is compiled for one target, its symbols its own, its tensors `more` bytes larger."""
    names = {name: f"{target}_{name}" for name in ("toy_scale", "toy_dense", "toy_mix", "toy_fail") if name in KERNELS}
    flags = tuple(f"-D{name}={own}" for name, own in names.items())
    spec = toy_spec(flags=flags, features=features, triple=triple, seed=seed)
    kernels = tuple(replace(kernel, symbol=names[kernel.symbol]) for kernel in spec.kernels)
    return replace(spec, target=target, parts=parts, kernels=kernels, tensor_bytes=spec.tensor_bytes + more)


def linked(files: LibraryFiles, compiler: str = "gcc") -> Path:
    assert files.probe_archive is not None
    program = files.directory.parent / "program"
    words = [compiler, "-std=gnu99", *WARNINGS, "-static", "-pthread", str(PROGRAMS / "variant.c")]
    words += [f"-I{files.directory}", str(files.probe_archive), "-lm", "-o", str(program)]
    subprocess.run(words, check=True)
    return program


@pytest.mark.skipif(
    shutil.which(f"{ARM}-gcc") is None or shutil.which("qemu-aarch64") is None,
    reason="gcc-aarch64-linux-gnu and qemu-user are not installed",
)
def test_arm(tmp_path: Path) -> None:
    """The part where it is in the list, else the most demanding that can run, and of equals the first."""
    small = variant("small", ("neon",), (0x41D03,), ARM)
    middle = variant("middle", ("neon",), (0x41D08, 0x41D09), ARM, more=64)
    large = variant("large", ("neon", "dotprod", "fullfp16"), (), ARM, more=128)
    program = linked(write_library(join_variants([small, middle, large]), tmp_path / "toy", probe=True), f"{ARM}-gcc")
    needs = {spec.target: spec.tensor_bytes + spec.scratch_bytes for spec in (small, middle, large)}
    cpus = {"cortex-a53": "small", "cortex-a72": "middle", "cortex-a57": "small", "cortex-a76": "large", "max": "large"}
    for cpu, target in cpus.items():
        said = says("qemu-aarch64", "-cpu", cpu, program).strip()
        assert said == f"{target} 0 {needs[target]} of {needs['large']}", cpu


@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="qemu-x86_64 (qemu-user) is not installed")
def test_x86(tmp_path: Path) -> None:
    """The most demanding that the processor can run; where none can, what the least demanding misses is named."""
    wide, narrow = variant("wide", ("sse4.2", "avx2", "fma")), variant("narrow", ("sse4.2",))
    program = linked(write_library(join_variants([narrow, wide]), tmp_path / "toy", probe=True))
    assert says("qemu-x86_64", "-cpu", "Nehalem", program).startswith("narrow 0 ")
    assert says("qemu-x86_64", "-cpu", "Haswell", program).startswith("wide 0 ")
    why = "the kernels need sse4.2, which this processor or operating system lacks"
    assert says("qemu-x86_64", "-cpu", "qemu64", program).strip().endswith(why)
    assert says("qemu-x86_64", "-cpu", "qemu64", program).startswith("narrow 4 ")


@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="qemu-x86_64 (qemu-user) is not installed")
def test_each_is_tested_by_its_own_expectations(tmp_path: Path) -> None:
    """Targets that store weights as half floats need not store the same ones so."""
    wide, narrow = variant("wide", ("sse4.2", "avx2", "fma"), seed=1), variant("narrow", ("sse4.2",), more=64)
    assert wide.goldens != narrow.goldens
    program = linked(write_library(join_variants([narrow, wide]), tmp_path / "toy", probe=True))
    assert says("qemu-x86_64", "-cpu", "Nehalem", program).startswith("narrow 0 ")
    assert says("qemu-x86_64", "-cpu", "Haswell", program).startswith("wide 0 ")


def test_all_that_holds_for_one_holds_for_several(tmp_path: Path, compiled: Compile) -> None:
    one, two = variant("one"), variant("two")
    files = write_library(join_variants([one, two]), tmp_path / "toy")
    for path, option in ((files.shared, "-D"), (files.static, "-g")):
        lines = says("nm", option, "--defined-only", path).splitlines()
        assert {line.split()[-1] for line in lines if line and not line.endswith(":")} == PUBLIC
    assert says(compiled("statuses.c", f"-I{files.directory}", files.static, "-lm")) == "ok\n"
    text = files.header.read_text()
    assert f"TOY_WORKSPACE_BYTES {one.tensor_bytes + one.scratch_bytes}u /* one thread, the most of 2 sets" in text


def test_equal_weights_are_stored_once() -> None:
    one, two, other = variant("one"), variant("two"), variant("other", seed=1)
    joined = join_variants([one, two])
    assert joined.weights.tobytes() == one.weights.tobytes()
    partly = replace(other, weights=np.concatenate([one.weights[:16], other.weights[16:]]))
    shared = join_variants([one, partly])
    assert shared.weights.nbytes - one.weights.nbytes == -(-one.weights.nbytes // 64) * 64 - 64
    assert {variant.kernels[0].weights_offset for variant in shared.sets} == {0}
    for of, given in zip(join_variants([one, other]).sets, (one, other), strict=True):
        for kernel, before, size in zip(of.kernels[:2], given.kernels[:2], (64, 4 * 7 * 60), strict=True):
            at, was = kernel.weights_offset, before.weights_offset
            assert of.weights.tobytes()[at : at + size] == given.weights.tobytes()[was : was + size] and at % 64 == 0


def test_manifest(tmp_path: Path) -> None:
    specs = [variant("one", parts=(0x41D03,)), variant("two", more=64)]
    files = write_library(join_variants(specs), tmp_path / "toy")
    manifest = json.loads(files.manifest.read_text())
    assert [v["target"]["name"] for v in manifest["variants"]] == ["one", "two"]
    assert manifest["variants"][0]["parts"] == ["0x41d03"]
    assert manifest["workspace_bytes"] == manifest["variants"][1]["workspace_bytes"]
    symbols = [kernel["symbol"] for kernel in manifest["variants"][1]["kernels"]]
    assert symbols == ["two_toy_scale", "two_toy_dense", "two_toy_mix"]


def test_alone_it_is_as_ever(tmp_path: Path) -> None:
    spec = toy_spec()
    assert join_variants([spec]) is spec
    manifest = json.loads(write_library(spec, tmp_path / "toy").manifest.read_text())
    assert "variants" not in manifest


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_objects_of_several(tmp_path: Path, compiled: Compile) -> None:
    write_objects(join_variants([variant("one"), variant("two")]), tmp_path / "objects")
    says("cmake", "-S", tmp_path / "objects", "-B", tmp_path / "b")
    says("cmake", "--build", tmp_path / "b")
    program = compiled("statuses.c", f"-I{tmp_path / 'objects'}", tmp_path / "b" / "libtoy.a", "-lm")
    assert says(program) == "ok\n"
