"""verify and run on a device say what they say here, or why they cannot."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mncc.language.diagnostic import OutsideError
from mncc.report.failures import UsageError
from mncc.report.progress import Progress
from mncc.report.run import RunReport
from mncc.verbs import loading
from mncc.verbs.job import parse_device, prepare
from mncc.verbs.run import run
from mncc.verbs.verify import verify
from tests.devices.machines import ARM, emulated
from tests.devices.sshd import needs_sshd, start_sshd

_PACKAGE = importlib.util.find_spec("ziglang") is not None
ZIG = f"{sys.executable} -m ziglang cc" if _PACKAGE else "zig cc" if shutil.which("zig") else ""
TINY = Path(__file__).resolve().parents[2] / "docs" / "tiny.mn"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize("target", [emulated(name) for name in ARM])
def test_verify_in_the_emulator(target: str, picture: Path) -> None:
    report = verify(prepare(TINY, {"batch": "3"}, target), [picture], Progress(), parse_device("qemu"))
    assert not report.failed and len(report.kernels) >= 3 and len(report.outputs) == 1
    assert report.target == f"{target} on qemu" and report.inputs.endswith("1 picture")


@pytest.mark.skipif(not ZIG, reason="needs zig")
@pytest.mark.parametrize("target", [emulated("arm64-cortex-a72"), emulated("armv7")])
def test_verify_with_zig(target: str) -> None:
    """zig has no static glibc: the program for the device gets musl."""
    report = verify(prepare(TINY, {}, target, cc=ZIG), [], Progress(), parse_device("qemu"))
    assert not report.failed


@pytest.mark.parametrize("target", [emulated("arm64-cortex-a76")])
def test_float16_in_the_emulator(target: str, picture: Path) -> None:
    report = verify(prepare(TINY, {"batch": "3"}, target, dtype="float16"), [picture], Progress(), parse_device("qemu"))
    assert not report.failed
    assert all(1e-5 < kernel.largest < 5e-3 for kernel in report.kernels), "computed in float16, and not worse"
    assert report.rounded[0].largest < 1e-2 and "weights as given" in report.verdict()


@pytest.mark.parametrize("target", [emulated("arm64-cortex-a72"), emulated("armv7")])
def test_pictures_in_the_emulator(target: str, picture: Path) -> None:
    """Three pictures in batches of two: the labels and probabilities are those of this machine."""

    def answers(target: str, device: str) -> RunReport:
        job = prepare(TINY, {"batch": "2"}, target)
        return run(job, [picture, picture, picture], None, 3, Progress(), parse_device(device))

    here, there = answers("native", "local"), answers(target, "qemu")
    assert [[g.label for g in a.guesses] for a in here.answers] == [[g.label for g in a.guesses] for a in there.answers]
    for one, other in zip(here.answers, there.answers, strict=True):
        for guess, same in zip(one.guesses, other.guesses, strict=True):
            assert guess.probability == pytest.approx(same.probability, rel=1e-5)
    assert "on one thread of the emulator" in there.text() and there.milliseconds > 0


@pytest.mark.parametrize("name", ["probe", "fma_peak"])
def test_a_network_called_like_a_header_of_ours(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.mn"
    file.write_text(Path(TINY).read_text(encoding="utf-8").replace("network tiny", f"network {name}"), encoding="utf-8")
    assert not verify(prepare(file, {}), [], Progress(), parse_device("command:env")).failed


def test_a_command_before_the_program() -> None:
    report = verify(prepare(TINY, {}), [], Progress(), parse_device("command:env -u HOME"))
    assert not report.failed and report.target.endswith(" on command:env -u HOME")


@needs_sshd
def test_a_device_that_is_not_there_is_told_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(*_: object) -> None:
        raise AssertionError("it was compiled for nothing")

    monkeypatch.setattr(loading, "compiled", compiled)
    with pytest.raises(OutsideError, match=r"ssh://nobody@127\.0\.0\.1:1 cannot be reached"):
        verify(prepare(TINY, {}), [], Progress(), parse_device("ssh://nobody@127.0.0.1:1"))


@needs_sshd
def test_verify_over_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start_sshd(tmp_path / "server")
    monkeypatch.setenv("PATH", f"{server.folder / 'bin'}:{os.environ['PATH']}")
    try:
        report = verify(prepare(TINY, {}), [], Progress(), parse_device(server.text))
        assert not report.failed and len(report.kernels) >= 3
        server.before("ulimit -f 8")
        with pytest.raises(OutsideError, match="its disk is full"):
            verify(prepare(TINY, {}), [], Progress(), parse_device(server.text))
        assert os.listdir(server.place) == []
    finally:
        server.close()


@pytest.mark.parametrize("target", [emulated("arm64-cortex-a76")])
def test_a_processor_that_lacks_instructions(target: str) -> None:
    device = parse_device("command:qemu-aarch64 -cpu cortex-a72")
    with pytest.raises(OutsideError, match="the kernels need lse") as caught:
        verify(prepare(TINY, {}, target), [], Progress(), device)
    assert "cannot" not in str(caught.value) and "mncc targets" in str(caught.value)


@pytest.mark.parametrize(
    ("target", "device", "words"),
    [
        ("x86-64-v4", "qemu", "emulates no processor for x86-64-v4"),
        ("arm64-apple", "qemu", "emulates no processor for arm64-apple"),
        ("arm64-cortex-a72", "local", "cannot run programs for arm64-cortex-a72"),
    ],
)
def test_devices_that_cannot_run_the_target(target: str, device: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        verify(prepare(TINY, {}, target), [], Progress(), parse_device(device))
    assert caught.value.help and "--device" in caught.value.help


def test_missing_emulators_and_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are missed before anything is compiled."""
    job = prepare(TINY, {}, "armv7")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OutsideError, match="there is no qemu-arm") as caught:
        verify(job, [], Progress(), parse_device("qemu"))
    assert caught.value.help and "apt-get install qemu-user" in caught.value.help
    with pytest.raises(OutsideError, match="there is no program board-run"):
        verify(job, [], Progress(), parse_device("command:board-run --fast"))


def test_a_command_that_fails(tmp_path: Path) -> None:
    refuses = tmp_path / "refuses"
    refuses.write_text("#!/bin/sh\necho 'the board is asleep' >&2\nexit 9\n")
    refuses.chmod(0o755)
    with pytest.raises(OutsideError, match="failed with status 9:\nthe board is asleep"):
        verify(prepare(TINY, {}), [], Progress(), parse_device(f"command:{refuses}"))


def test_a_command_that_does_not_run_the_program() -> None:
    with pytest.raises(OutsideError, match="the program left no answers") as caught:
        verify(prepare(TINY, {}), [], Progress(), parse_device("command:true"))
    assert caught.value.help == "a command must run the program whose path and arguments follow it"


def test_nothing_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of a run that went well nor of one that failed."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    verify(prepare(TINY, {}), [], Progress(), parse_device("command:env"))
    with pytest.raises(OutsideError):
        verify(prepare(TINY, {}), [], Progress(), parse_device(f"command:{shutil.which('false')}"))
    assert os.listdir(tmp_path) == []
