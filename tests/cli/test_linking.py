"""mncc build and the compilers that it needs, or does not."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Answer

Program = Callable[..., Answer]


def test_objects_for_a_system_that_no_compiler_here_knows(
    mncc: Program, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANDROID_NDK_HOME", raising=False)
    answer = mncc("build", tiny, "--target", "arm64-android", "-o", tmp_path / "out")
    assert answer.status == 3 and "--emit-objects" in answer.err and not (tmp_path / "out").exists()
    answer = mncc("build", tiny, "--target", "arm64-android", "--emit-objects", "-o", tmp_path / "out")
    assert answer.status == 0 and "CMakeLists.txt" in answer.out and (tmp_path / "out" / "tiny.h").is_file()


def test_a_compiler_and_no_compiler(mncc: Program, tiny: Path) -> None:
    answer = mncc("build", tiny, "--emit-objects", "--cc", "gcc")
    assert answer.status == 2 and "leave one of them out" in answer.err
    assert mncc("build", tiny, "--cc", " ").status == 2


def test_one_library_for_several(mncc: Program, tiny: Path, tmp_path: Path) -> None:
    answer = mncc("build", tiny, "--target", "arm64-cortex-a53,arm64-cortex-a72", "-o", tmp_path / "out")
    assert answer.status == 0, answer.err
    assert "for arm64-cortex-a53, arm64-cortex-a72" in answer.out
    manifest = json.loads((tmp_path / "out" / "tiny.json").read_text())
    assert [v["target"]["name"] for v in manifest["variants"]] == ["arm64-cortex-a53", "arm64-cortex-a72"]
    assert manifest["weights_bytes"] < 2 * manifest["weights"]["packed_bytes"], "what both pack alike is stored once"


def test_every_target_of_a_list_is_verified(mncc: Program, tiny: Path) -> None:
    if not (shutil.which("qemu-aarch64") and shutil.which("aarch64-linux-gnu-gcc")):
        pytest.skip("needs qemu-user and the aarch64 cross compiler")
    answer = mncc("verify", tiny, "--target", "arm64-cortex-a53,arm64-cortex-a76", "--device", "qemu")
    assert answer.status == 0, answer.err
    for target in ("arm64-cortex-a53", "arm64-cortex-a76"):
        assert re.search(rf"scores, {target} on qemu .* ok", answer.out)
        assert re.search(rf"k01_bottleneck, {target} on qemu .* ok", answer.out)


def test_what_the_device_cannot_run_is_left_out(mncc: Program, tiny: Path, tmp_path: Path, picture: Path) -> None:
    """qemu 7.2 has no AVX-512: the kernels for it are not verified, which is said."""
    if not shutil.which("qemu-x86_64"):
        pytest.skip("qemu-x86_64 (qemu-user) is not installed")
    targets = ("--target", "x86-64-v4,x86-64-v3", "--device", "command:qemu-x86_64 -cpu Haswell")
    answer = mncc("verify", tiny, *targets)
    assert answer.status == 0, answer.err
    assert "the kernels for x86-64-v4 are not verified" in answer.err and "x86-64-v3" in answer.out
    assert mncc("run", tiny, picture, *targets).status == 0


@pytest.mark.parametrize("command", [("cost",), ("emit", "--stage", "plan"), ("bench",)])
def test_where_only_one_target_can_be(mncc: Program, tiny: Path, command: tuple[str, ...]) -> None:
    verb, *options = command
    answer = mncc(verb, tiny, *options, "--target", "x86-64-v3,x86-64-v4")
    assert answer.status == 2 and "only build, run and verify take several" in answer.err
    assert "name one: x86-64-v3" in answer.err


@pytest.mark.parametrize("targets", ["arm64,armv7", "arm64,arm64-android", "x86-64-v3,arm64", "arm64,nosuch", "arm64,"])
def test_lists_that_cannot_be(mncc: Program, tiny: Path, targets: str, tmp_path: Path) -> None:
    answer = mncc("build", tiny, "--target", targets, "-o", tmp_path / "out")
    assert answer.status == 2, answer.err
    assert any(words in answer.err for words in ("build once for each", "there is no target", "a name is missing"))
