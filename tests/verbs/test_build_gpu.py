"""`mncc build --target cuda-...`, as a command."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from mncc.language.diagnostic import OutsideError
from mncc.report.failures import UsageError
from mncc.report.progress import Progress
from mncc.verbs.build import build
from mncc.verbs.build_gpu import too_small
from mncc.verbs.compile_gpu import planned_for
from mncc.verbs.job import GpuJob, find_gpus, find_machine, prepare_build


def job(targets: str) -> GpuJob:
    found = prepare_build("docs/tiny.mn", {}, targets, "random:3")
    assert isinstance(found, GpuJob)
    return found


def test_several_targets_share_what_a_block_has_on_all_of_them() -> None:
    assert planned_for(find_gpus("cuda-sm80")).block_shared == 163 << 10
    planned = planned_for(find_gpus("cuda-sm80,cuda-sm90,cuda-sm86"))
    assert planned.block_shared == 99 << 10 and planned.multiprocessors == 108


def test_a_target_named_twice_is_one_and_a_missing_name_is_said() -> None:
    assert find_gpus("cuda-sm80, cuda-sm80") == find_gpus("cuda-sm80")
    with pytest.raises(UsageError, match="--target cuda-sm80,: a name is missing beside the comma"):
        find_gpus("cuda-sm80,")
    with pytest.raises(UsageError, match="only build, run and verify take several") as error:
        find_machine("cuda-sm80,cuda-sm86")
    assert error.value.help == "name one: cuda-sm80"


def test_gpus_with_too_little_shared_memory_are_named() -> None:
    told = too_small(find_gpus("cuda-sm80"), 142 << 10)
    assert "up to 142 KiB" in told and "more than cuda-sm86 and cuda-sm89 have: `--target cuda-sm80,cuda-sm86`" in told
    assert not too_small(find_gpus("cuda-sm80"), 99 << 10) and not too_small(find_gpus("cuda-sm90"), 200 << 10)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled once, kept, and the same bytes in another folder, named in another order."""
    monkeypatch.setenv("MNCC_CACHE", str(tmp_path / "cache"))
    with Progress() as progress:
        report = build(job("cuda-sm86,cuda-sm75"), tmp_path / "one", progress)
        text = report.text()
        assert "tiny for cuda-sm75, cuda-sm86" in text and " kernels, " in text
        assert re.search(r"workspace \d+ KiB for a handle on the device", text)
        assert len(list((tmp_path / "cache").iterdir())) == 1
        monkeypatch.setenv("MNCC_CACHE", "off")
        build(job("cuda-sm75,cuda-sm86"), tmp_path / "two", progress)
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_what_is_missing_is_said_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_work(*_: object) -> None:
        raise AssertionError("compiled without a compiler")

    monkeypatch.setattr("mncc.verbs.build_gpu.compiled_gpu", no_work)
    monkeypatch.setattr("mncc.library.nvcc._packaged", list)
    gcc = shutil.which("gcc")
    assert gcc is not None
    (tmp_path / "cc").symlink_to(gcc)
    monkeypatch.setenv("PATH", str(tmp_path))
    with Progress() as progress, pytest.raises(OutsideError, match="no CUDA compiler"):
        build(job("cuda-sm80"), tmp_path / "out", progress)
    (tmp_path / "nvcc").write_text(
        "#!/bin/sh\n[ $1 = --version ] && echo release 11.4, V11.4.48 || printf 'sm_75\\nsm_80\\n'\n"
    )
    (tmp_path / "nvcc").chmod(0o755)
    with Progress() as progress, pytest.raises(OutsideError, match=r"nvcc 11\.4 does not compile for sm_90: it knows"):
        build(job("cuda-sm80,cuda-sm90"), tmp_path / "out", progress)
    assert not (tmp_path / "out").exists()
