"""Command line values that most verbs share."""

from __future__ import annotations

import pytest

from mncc.report.failures import UsageError
from mncc.verbs.bench import parse_engines, parse_threads
from mncc.verbs.job import find_gpus, find_targets, parse_device, parse_settings


def test_settings() -> None:
    assert parse_settings(["width=0.75", " t = a=b ", "width=1"]) == {"width": "1", "t": "a=b"}
    for wrong in ("width", "=1", "width=", "="):
        with pytest.raises(UsageError, match="expected name=value"):
            parse_settings([wrong])


def test_devices() -> None:
    for text in ("local", "qemu", "command:nice -n 5"):
        assert parse_device(text).name == text
    for wrong in ("tracker://host:9190", "command:", "command:'", "qemu ", "toaster", ""):
        with pytest.raises(UsageError, match="--device"):
            parse_device(wrong)


def test_gpus() -> None:
    assert [gpu.architecture for gpu in find_gpus("cuda-sm90, cuda-sm75,cuda-sm90")] == ["sm_75", "sm_90"]
    with pytest.raises(UsageError, match="x86-64-v3 is a CPU"):
        find_gpus("cuda-sm90,x86-64-v3")
    with pytest.raises(UsageError, match="cuda-sm91"):
        find_gpus("cuda-sm91")


def test_targets() -> None:
    assert [target.name for target in find_targets("arm64, arm64")] == ["arm64"]
    for wrong in (",", "arm64,", "arm64,,armv7"):
        with pytest.raises(UsageError, match=f"--target {wrong}: a name is missing beside the comma"):
            find_targets(wrong)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("aarch64-linux-gnu", "`arm64`"),
        ("armv8", "`arm64`"),
        ("arm-linux-gnueabihf", "`armv7`"),
        ("thumbv7neon-linux-gnueabihf", "`armv7`"),
        ("x86_64-linux-gnu", "`x86-64-v3`"),
        ("arm64-cortex-a77", "`arm64`, `arm64-cortex-a7"),
    ],
)
def test_the_nearest_targets(name: str, near: str) -> None:
    with pytest.raises(UsageError) as refused:
        find_targets(name)
    assert refused.value.help and refused.value.help.startswith(f"the nearest are {near}")


def test_nothing_is_near_a_processor_of_another_kind() -> None:
    with pytest.raises(UsageError) as refused:
        find_targets("riscv64")
    assert refused.value.help and refused.value.help.startswith("targets are ")


def test_threads() -> None:
    assert parse_threads("2,1,2") == (2, 1)
    for wrong in ("", "0", "1,", "two", "-1", "1.5", "100000"):
        with pytest.raises(UsageError, match="--threads"):
            parse_threads(wrong)


def test_engines() -> None:
    assert parse_engines(" torch,ncnn,,torch") == ("torch", "ncnn")
    assert parse_engines("") == ()
