"""Every command on a small network: status, standard output, standard error."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import mncc as package
from mncc.cli import app

from .conftest import Answer

Program = Callable[..., Answer]
COMMANDS = sorted(str(command.name or command.callback.__name__) for command in app.registered_commands)  # type: ignore[union-attr]


def test_the_commands_are_those_of_the_contract() -> None:
    assert COMMANDS == ["bench", "build", "check", "cost", "emit", "run", "targets", "tune", "verify"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(mncc: Program, command: str) -> None:
    answer = mncc(command, "--help")
    assert answer.status == 0
    assert f"Example: mncc {command}" in answer.out


def test_program_help_and_version(mncc: Program) -> None:
    assert mncc("--version").out.strip() == f"mncc {package.__version__}"
    answer = mncc("--help")
    assert answer.status == 0
    for command in COMMANDS:
        assert re.search(rf"^\W*{command}\b", answer.out, re.MULTILINE)


def test_check(mncc: Program, tiny: Path) -> None:
    answer = mncc("check", tiny, "--set", "resolution=64")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith("tiny: image 64x64x3 -> ")
    assert "parameters" in answer.out and answer.out.count("\n") == 1


def test_cost(mncc: Program, tiny: Path) -> None:
    plain, scaled = (mncc("cost", tiny, *more, "--json") for more in ((), ("--set", "width=2")))
    one, two = json.loads(plain.out), json.loads(scaled.out)
    assert one["params"] == sum(layer["params"] for layer in one["layers"])
    assert one["macs"] == sum(layer["macs"] for layer in one["layers"]) == sum(row["macs"] for row in one["rows"])
    assert one["macs"] == sum(kernel["macs"] for kernel in one["kernels"])
    assert {"name", "op", "output_shape", "params", "macs"} <= set(one["layers"][0])
    assert one["workspace_bytes"] > 0
    assert two["macs"] > one["macs"]

    table = mncc("cost", tiny)
    assert table.status == 0
    assert table.out.count("bottleneck") >= 2
    assert f"{one['params']:,}" in table.out and f"{one['macs']:,}" in table.out


def test_targets(mncc: Program) -> None:
    answer = mncc("targets")
    assert answer.status == 0
    for name in ("native", "x86-64-v3", "x86-64-v4"):
        assert re.search(rf"^\s*{name}\s+\S", answer.out, re.MULTILINE)


@pytest.mark.parametrize("stage", ["tree", "network", "plan", "tir", "llvm", "asm"])
def test_emit(mncc: Program, tiny: Path, stage: str) -> None:
    answer = mncc("emit", tiny, "--stage", stage, "--target", "x86-64-v3")
    assert answer.status == 0, answer.err
    assert len(answer.out.splitlines()) > 5


@pytest.mark.parametrize("stage, words", [("plan", "gpu_fused"), ("tir", "blockIdx.x"), ("cuda", "__global__")])
def test_emit_for_a_gpu(mncc: Program, tiny: Path, stage: str, words: str) -> None:
    answer = mncc("emit", tiny, "--stage", stage, "--target", "cuda-sm86", "--weights", "random:1")
    assert answer.status == 0, answer.err
    assert words in answer.out


def test_build_leaves_what_the_contract_says(mncc: Program, tiny: Path, tmp_path: Path) -> None:
    answer = mncc("build", tiny, "-o", tmp_path / "out", "--name", "small", "--set", "resolution=48")
    assert answer.status == 0, answer.err
    assert "warning: small gets random weights" in answer.err
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"libsmall.so", "libsmall.a", "small.h", "small.json", "smallConfig.cmake", "small.pc"} <= names
    manifest = json.loads((tmp_path / "out" / "small.json").read_text())
    assert manifest["inputs"][0]["shape"] == [1, 48, 48, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "nothing is left beside the folder"

    again = mncc("build", tiny, "-o", tmp_path / "again", "--name", "small", "--set", "resolution=48")
    assert again.status == 0
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_build_has_a_default_folder_and_replaces_its_own(
    mncc: Program, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(tiny, "net.mn")
    for seed in ("random:1", "random:2"):
        assert mncc("build", "net.mn", "--weights", seed).status == 0
    assert (tmp_path / "build" / "tiny" / "libtiny.so").is_file()


def test_run(mncc: Program, tiny: Path, picture: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"label {number}\n" for number in range(10)))
    answer = mncc("run", tiny, "--image", picture, "--labels", labels, "--top", "3")
    assert answer.status == 0, answer.err
    assert "warning: tiny gets random weights" in answer.err
    lines = answer.out.splitlines()
    guesses = [re.fullmatch(r" +(\d\.\d+)  (label \d)", line) for line in lines[1:4]]
    assert all(guesses)
    chances = [float(guess[1]) for guess in guesses if guess]
    assert chances == sorted(chances, reverse=True) and 0.1 <= chances[0] <= 1
    assert re.search(r"1 picture, \d+\.\d+ ms each", lines[4])
    assert guesses[0] and lines[-1] == f"{picture}: {guesses[0][2]}"

    numbers = mncc("run", tiny, "--image", picture, "--top", "99", "--set", "batch=2")
    assert len(re.findall(r"^  +\d\.\d+  class \d$", numbers.out, re.MULTILINE)) == 10
    assert guesses[0] and numbers.out.splitlines()[-1].endswith(f"class {guesses[0][2].split()[1]}")

    several = mncc("run", tiny, "--image", picture, picture, "--image", picture)
    assert "3 pictures" in several.out


def test_verify(mncc: Program, tiny: Path, picture: Path) -> None:
    answer = mncc("verify", tiny, "--image", picture)
    assert answer.status == 0, answer.out + answer.err
    assert answer.out.splitlines()[-1].startswith("verified: ")
    assert re.search(r"output +scores|output +\S+", answer.out)
    assert answer.out.count("kernel ") >= 3


def test_verify_past_the_tolerance(mncc: Program, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = (0.0, 0.0)
    monkeypatch.setattr("mncc.verbs.verify.TOLERANCES", {"float32": (nothing, nothing)})
    answer = mncc("verify", tiny)
    assert answer.status == 1
    assert "FAILED" in answer.out and "lie past the tolerance" in answer.out


def test_bench(mncc: Program, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mncc.peers import rounds

    monkeypatch.setattr(rounds, "MOST_ROUNDS", 2)
    answer = mncc("bench", tiny, "--threads", "1,2", "--against", "torch,hamster", "--json", "--profile")
    assert answer.status == 0, answer.err
    content = json.loads(answer.out)
    assert content["network"] == "tiny" and content["target"] and content["fma_peak_gflops"] > 0
    measured = [(result["engine"], result["threads"]) for result in content["results"]]
    assert measured == [("mncc", 1), ("mncc", 2), ("torch", 1), ("torch", 2)]
    for result in content["results"]:
        assert 0 < result["min_ms"] <= result["median_ms"]
        share = 2 * content["macs"] / (result["median_ms"] * 1e-3 * result["fma_peak_gflops"] * 1e9)
        assert result["percent_of_fma_peak"] == pytest.approx(100 * share)
    assert [missing["engine"] for missing in content["missing"]] == ["hamster"]
    assert sum(kernel["macs"] for kernel in content["profile"]) == content["macs"]

    table = mncc("bench", tiny, "--profile")
    assert table.status == 0
    assert "most lost time first" in table.out


@pytest.mark.skipif(
    not (shutil.which("qemu-aarch64") and shutil.which("aarch64-linux-gnu-gcc")),
    reason="needs qemu-user and the aarch64 cross compiler",
)
def test_bench_on_qemu_counts_instructions(mncc: Program, tiny: Path) -> None:
    command = ("bench", tiny, "--target", "arm64-cortex-a76", "--device", "qemu", "--profile")
    answer = mncc(*command, "--json")
    assert answer.status == 0, answer.err
    content = json.loads(answer.out)
    assert (content["network"], content["target"], content["device"]) == ("tiny", "arm64-cortex-a76", "qemu")
    assert content["fma_peak_gflops"] is None
    (result,) = content["results"]
    assert (result["engine"], result["threads"]) == ("mncc", 1)
    assert result["median_ms"] is result["min_ms"] is result["percent_of_fma_peak"] is None
    assert result["instructions"] == content["instructions"]["instructions"] > content["macs"] / 4
    kernels = content["profile"]
    assert sum(kernel["macs"] for kernel in kernels) == content["macs"]
    excess = [kernel["excess"] for kernel in kernels]
    assert excess == sorted(excess, reverse=True)

    table = mncc(*command)
    assert table.status == 0
    assert "Instructions, not time" in table.out and "most excess first" in table.out
