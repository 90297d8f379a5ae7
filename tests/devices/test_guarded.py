"""Guard pages find kernels that leave their buffers, and let the others pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mncc.devices.guarded import GuardedBuffer, check_guarded
from mncc.library.write import write_library
from tests.library.conftest import Toys
from tests.library.toy import CLASSES, PIXELS, toy_spec


def test_good_library_passes(toys: Callable[..., Toys]) -> None:
    check_guarded(toys()[0].directory, threads=(1, 2, 7))
    check_guarded(toys()[1].directory)  # without a probe


FAULTS = {
    "reads behind its input": f"sum += 0 * ((volatile float *)in)[{PIXELS}]",
    "reads before its input": "sum += 0 * ((volatile float *)in)[-1]",
    "writes its input": "((volatile float *)in)[0] = 1",
    "writes behind its output": "((volatile float *)out)[16] = 1",
    "reads behind the weights": f"sum += 0 * ((const volatile float *)weights)[{CLASSES * PIXELS + 16}]",
    "writes behind its scratch": "((volatile float *)scratch)[16] = 1",
    "reads scratch that nobody wrote": "sum += 0 * *(volatile float *)scratch",
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_fault_is_found(fault: str, tmp_path: Path) -> None:
    spec = toy_spec("faulty", flags=(f"-DFAULT={FAULTS[fault]}",), goldens=())
    files = write_library(spec, tmp_path / "faulty", probe=True)
    with pytest.raises(AssertionError, match="does not stay in its buffers") as caught:
        check_guarded(files.directory, threads=(1,))
    assert "kernel 1 dense" in str(caught.value) or "output 1 has other bits" in str(caught.value), str(caught.value)


def test_written_slack_is_found() -> None:
    buffer = GuardedBuffer(100, "end", align=64)
    assert buffer.bytes.ctypes.data % 64 == 0 and np.isnan(buffer.floats()).all()
    buffer.check("buffer")
    buffer._slack[1][0] = 1
    with pytest.raises(AssertionError, match="buffer: written outside"):
        buffer.check("buffer")
