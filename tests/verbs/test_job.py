"""Command line values that most verbs share."""

from __future__ import annotations

import pytest

from mncc.report.failures import UsageError
from mncc.verbs.bench import parse_engines, parse_threads
from mncc.verbs.job import find_gpus, parse_device, parse_settings


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
