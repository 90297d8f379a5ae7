"""What is wrong with a command, its files or the machine: told clearly, with the right status, nothing left behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Answer

Program = Callable[..., Answer]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ""),
        (("bulid",), "build"),
        (("check",), "NET.mn"),
        (("check", "TINY", "--width", "1"), "--width"),
        (("check", "TINY", "--set", "width"), "expected name=value"),
        (("cost", "TINY", "--target", "x86-64-v5"), "x86-64-v4"),
        (("cost", "TINY", "--target", "x86-64-v3,x86-64-v4"), "take several"),
        (("build", "TINY", "--name", "3d"), "not a C identifier"),
        (("build", "TINY", "--name", "int"), "`--name net_int` works"),
        (("build", "TINY", "--name", "mncc"), "no library can be called mncc"),
        (("run", "TINY"), "no picture"),
        (("run", "TINY", "--image", "p.png", "--top", "0"), "--top"),
        (("build", "TINY", "--weights-dtype", "int4"), "write float32 or float16"),
        (("emit", "TINY"), "--stage"),
        (("emit", "TINY", "--stage", "cuda"), "is a CPU"),
        (("emit", "TINY", "--stage", "asm", "--target", "cuda-sm80"), "--stage cuda"),
        (("emit", "TINY", "--stage", "cuda", "--target", "cuda-sm81"), "cuda-sm86"),
        (("emit", "TINY", "--stage", "llvmm"), "write one of tree, network, plan"),
        (("verify", "TINY", "--device", "tracker://host:9190"), "ssh://user@host"),
        (("verify", "TINY", "--target", "arm64-apple", "--device", "qemu"), "emulates no processor"),
        (("run", "TINY", "--target", "armv7", "--image", "p.png"), "--device qemu emulates it"),
        (("bench", "TINY", "--device", "toaster"), "no such device"),
        (("bench", "TINY", "--threads", "0"), "--threads"),
        (("bench", "TINY", "--device", "qemu", "--target", "x86-64-v3"), "counted for arm64 and armv7"),
        (("bench", "TINY", "--device", "qemu", "--target", "arm64", "--threads", "1,2"), "on one thread"),
        (("bench", "TINY", "--device", "qemu", "--target", "arm64", "--against", "ncnn"), "python -m bench.arm64"),
        (("tune", "TINY", "--trials", "0"), "--trials"),
        (("build", "TINY", "--target", "cuda-sm80,x86-64-v3"), "x86-64-v3 is a CPU"),
        (("build", "TINY", "--target", "cuda-sm80,cuda-sm12"), "cuda-sm12"),
        (("build", "TINY", "--target", "cuda-sm80", "--cc", ""), "--cc names no compiler"),
        (("build", "TINY", "--target", "cuda-sm80", "--emit-objects"), "for CPUs so far"),
        (("cost", "TINY", "--target", "cuda-sm80"), "is a GPU"),
        (("verify", "TINY", "--target", "cuda-sm80", "--device", "qemu"), "only GPUs of this machine"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_command_lines(mncc: Program, tiny: Path, arguments: tuple[str, ...], words: str) -> None:
    answer = mncc(*(str(tiny) if argument == "TINY" else argument for argument in arguments))
    assert answer.status == 2
    assert words in answer.err + (answer.out if not arguments else "")


@pytest.mark.parametrize("command", ["check", "cost", "build", "verify", "run", "bench", "emit"])
@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "binary", "nonsense"])
def test_wrong_network_files(mncc: Program, tmp_path: Path, picture: Path, command: str, kind: str) -> None:
    path = tmp_path / "net.mn"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes({"empty": b"", "binary": bytes(range(256)), "nonsense": b"once upon a time\n"}[kind])
    more = {"run": ["--image", str(picture)], "emit": ["--stage", "network"]}.get(command, [])
    answer = mncc(command, path, *more)
    assert answer.status == 1
    assert answer.out == ""
    assert "error: " in answer.err and "net.mn" in answer.err


def test_unknown_settings_and_weights(mncc: Program, tiny: Path, tmp_path: Path) -> None:
    answer = mncc("check", tiny, "--set", "widht=1")
    assert answer.status == 1 and "widht" in answer.err and "width" in answer.err
    answer = mncc("build", tiny, "--weights", tmp_path / "missing.pth", "-o", tmp_path / "out")
    assert answer.status == 1 and "missing.pth" in answer.err
    assert not (tmp_path / "out").exists()


def test_broken_pictures_and_labels(mncc: Program, tiny: Path, picture: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(picture.read_bytes()[:100])
    answer = mncc("run", tiny, "--image", broken, "--image", tmp_path / "missing.png", "--image", picture)
    assert answer.status == 1
    assert "broken.png" in answer.err and "missing.png" in answer.err and answer.out == ""

    labels = tmp_path / "labels.txt"
    labels.write_text("only one\n")
    answer = mncc("run", tiny, "--image", picture, "--labels", labels)
    assert answer.status == 1 and "has 1 labels, but the output" in answer.err
    assert mncc("run", tiny, "--image", picture, "--labels", tmp_path / "none.txt").status == 1


def test_a_folder_that_holds_somebody_s_files(mncc: Program, tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    answer = mncc("build", tiny, "-o", folder)
    assert answer.status == 1 and "thesis.tex" in answer.err and "-o" in answer.err
    assert (folder / "thesis.tex").read_text() == "years of work"
    answer = mncc("build", tiny, "-o", folder / "thesis.tex")
    assert answer.status == 1 and "not a folder" in answer.err
    answer = mncc("build", tiny, "-o", folder / "thesis.tex" / "out")
    assert answer.status == 3 and "thesis.tex is a file" in answer.err and "warning" not in answer.err


@pytest.mark.usefixtures("without_zig")
def test_no_compiler(mncc: Program, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    for command in (("build", tiny, "-o", tmp_path / "out"), ("verify", tiny), ("bench", tiny)):
        answer = mncc(*command)
        assert answer.status == 3
        assert "no C compiler" in answer.err and "install one" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(mncc: Program, tiny: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        place = Path("/proc/self/mncc")  # root may write everywhere else
    else:
        tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
        place = tmp_path / "out"
    answer = mncc("build", tiny, "-o", place)
    assert answer.status == 3
    assert str(place) in answer.err and "-o" in answer.err


def test_a_full_disk(mncc: Program, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on the size of files fails as a full disk does: in the middle of writing."""
    import resource

    monkeypatch.setenv("MNCC_CACHE", str(tmp_path / "cache"))
    for seed in ("random:7", "random:0"):
        assert mncc("build", tiny, "-o", tmp_path / "out", "--weights", seed).status == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        answer = mncc("build", tiny, "-o", tmp_path / "out", "--weights", "random:7")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert answer.status == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "out"], "nothing half written stays"
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize(
    "seconds, number", [(0.3, signal.SIGINT), (0.7, signal.SIGINT), (2.0, signal.SIGTERM), (4.0, signal.SIGINT)]
)
def test_interrupted(tiny: Path, tmp_path: Path, seconds: float, number: signal.Signals) -> None:
    """Ctrl-C at any time, or a timeout: status 130, a word, nothing half written."""
    environment = {**os.environ, "MNCC_CACHE": "off", "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "mncc", "build", str(tiny), "-o", str(tmp_path / "out")]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(seconds)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    if process.returncode == 0:
        assert (tmp_path / "out" / "libtiny.so").is_file(), "it was faster than the signal"
    else:
        assert process.returncode == 130, said
        assert "interrupted" in said
        assert sorted(path.name for path in tmp_path.iterdir()) == ["tmp"]
    assert list((tmp_path / "tmp").iterdir()) == []
