"""Command line values that most verbs share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mncc.kernels.target import cpu_targets, load_target
from mncc.report.failures import UsageError
from mncc.verbs.bench import parse_engines, parse_threads
from mncc.verbs.job import find_gpus, find_stored, parse_device, parse_settings


def test_settings() -> None:
    assert parse_settings(["width=0.75", " t = a=b ", "width=1"]) == {"width": "1", "t": "a=b"}
    for wrong in ("width", "=1", "width=", "="):
        with pytest.raises(UsageError, match="expected name=value"):
            parse_settings([wrong])


def test_devices() -> None:
    for text in ("local", "qemu", "command:nice -n 5"):
        assert parse_device(text).name == text
    for wrong in ("tracker://host:9190/key", "command:", "command:'", "qemu ", "toaster", ""):
        with pytest.raises(UsageError, match="--device"):
            parse_device(wrong)


def test_stored_types() -> None:
    native = load_target("native")
    assert find_stored("float32", native) == "float32" and find_stored("float16", native) == "float16"
    assert all(target.converts_half for target in cpu_targets())
    with pytest.raises(UsageError, match="no such type"):
        find_stored("bfloat16", native)
    old = replace(load_target("armv7"), name="armv7-vfp3", requires=("neon",))
    with pytest.raises(UsageError, match="no instructions that convert float16") as caught:
        find_stored("float16", old)
    assert "x86-64-v3" in str(caught.value.help) and "arm64" in str(caught.value.help)


def test_gpus() -> None:
    assert [gpu.architecture for gpu in find_gpus("cuda-sm90, cuda-sm75,cuda-sm90")] == ["sm_75", "sm_90"]
    with pytest.raises(UsageError, match="x86-64-v3 is a CPU"):
        find_gpus("cuda-sm90,x86-64-v3")
    with pytest.raises(UsageError, match="cuda-sm91"):
        find_gpus("cuda-sm91")


def test_threads() -> None:
    assert parse_threads("2,1,2") == (2, 1)
    for wrong in ("", "0", "1,", "two", "-1", "1.5", "100000"):
        with pytest.raises(UsageError, match="--threads"):
            parse_threads(wrong)


def test_engines() -> None:
    assert parse_engines(" torch,ncnn,,torch") == ("torch", "ncnn")
    assert parse_engines("") == ()
