"""Libraries called from Python: arrays in and out, threads, errors, the probe."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mncc.devices.loaded import Library, Probe, RunError, aligned_empty
from mncc.language.diagnostic import OutsideError
from mncc.library.write import write_library
from tests.library.conftest import Toys, says
from tests.library.toy import CHANNELS, CLASSES, HEIGHT, WIDTH, toy_outputs, toy_spec, toy_weights


@pytest.fixture
def library(toys: Callable[..., Toys]) -> Iterator[Library]:
    with Library(toys()[0].directory) as library:
        yield library


@pytest.fixture
def inputs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    image = rng.standard_normal((2, HEIGHT, WIDTH, CHANNELS), np.float32)
    return image, rng.standard_normal((2, CLASSES), np.float32)


def test_describes_itself(library: Library) -> None:
    assert library.name == "toy" and library.hash.startswith("sha256:")
    assert [(t.name, t.shape) for t in library.inputs] == [("image", (2, 5, 4, 3)), ("bias", (2, 7))]
    assert [t.name for t in library.outputs] == ["hidden", "scores"]
    assert library.workspace_bytes() == 192 and library.workspace_bytes(4) == 384
    assert library.manifest["name"] == "toy"
    assert library.status_string(4).startswith("this processor")


def test_computes(library: Library, inputs: tuple[np.ndarray, ...]) -> None:
    for got, want in zip(library(*inputs), toy_outputs(toy_weights(), *inputs), strict=True):
        assert got.dtype == np.float32 and got.shape == want.shape
        assert np.abs(got - want).max() < 1e-5 * np.abs(want).max()
    library.selftest()
    library.selftest(threads=3)


def test_bits_do_not_depend_on_threads(library: Library, inputs: tuple[np.ndarray, ...]) -> None:
    expected = [array.tobytes() for array in library.run(*inputs)]
    for threads in (0, 2, 3, 7, 20):
        assert [array.tobytes() for array in library.run(*inputs, threads=threads)] == expected


def test_single_output_is_an_array(toys: Callable[..., Toys]) -> None:
    other = Library(toys()[1].shared)
    got = other(np.zeros((1, HEIGHT, WIDTH, CHANNELS), np.float32))
    assert isinstance(got, np.ndarray) and got.shape == (1, CLASSES)


def test_several_python_threads(library: Library) -> None:
    rng = np.random.default_rng(1)
    images = rng.standard_normal((24, 2, HEIGHT, WIDTH, CHANNELS)).astype(np.float32)
    bias = np.zeros((2, CLASSES), np.float32)
    expected = [library.run(image, bias)[1].tobytes() for image in images]
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(library.run, image, bias, threads=1 + n % 3) for n, image in enumerate(images)]
        assert [job.result()[1].tobytes() for job in jobs] == expected


def test_lets_go_of_the_gil(tmp_path: Path, inputs: tuple[np.ndarray, ...]) -> None:
    """While a kernel sleeps, another Python thread runs."""
    sleep = "struct timespec t = {0, 20000000}; nanosleep(&t, 0)"
    flags = ("-D_POSIX_C_SOURCE=200809L", "-include", "time.h", f"-DFAULT={sleep}")
    library = Library(write_library(toy_spec("slow", flags=flags), tmp_path / "slow").directory)
    ticks = 0
    worker = threading.Thread(target=library.run, args=inputs)
    worker.start()
    while worker.is_alive():
        time.sleep(0.001)
        ticks += 1
    assert ticks > 20  # of some 200 in the 14 x 20 ms that the run sleeps


def test_torch_channels_last_is_not_copied(library: Library, inputs: tuple[np.ndarray, ...]) -> None:
    torch = pytest.importorskip("torch")
    image, bias = inputs
    nchw = torch.from_numpy(image).permute(0, 3, 1, 2)
    assert nchw.is_contiguous(memory_format=torch.channels_last)
    taken, _ = library.prepare(nchw, torch.from_numpy(bias))
    assert taken.ctypes.data == nchw.data_ptr()
    expected = library.run(image, bias)[1].tobytes()
    for tensor in (nchw, nchw.contiguous(), torch.from_numpy(image), nchw.clone().requires_grad_()):
        assert library.run(tensor, bias)[1].tobytes() == expected
    with pytest.raises(TypeError, match="needs float32, not float64"):
        library(nchw.double(), bias)
    with pytest.raises(ValueError, match=r"not \(2, 3, 4, 5\)"):
        library(torch.zeros(2, 3, 4, 5), bias)


def test_numpy_is_not_copied_where_it_is_dense(library: Library, inputs: tuple[np.ndarray, ...]) -> None:
    image, bias = inputs
    assert library.prepare(image, bias)[0].ctypes.data == image.ctypes.data
    expected = library.run(image, bias)[1].tobytes()
    strided = np.zeros((2, HEIGHT, WIDTH, 2 * CHANNELS), np.float32)[..., ::2]
    strided[:] = image
    unaligned = np.frombuffer(b"x" + image.tobytes(), np.uint8)[1:].view(np.float32).reshape(image.shape)
    frozen = image.copy()
    frozen.flags.writeable = False
    for array in (strided, np.asfortranarray(image), unaligned, frozen):
        assert library.run(array, bias)[1].tobytes() == expected


def test_wrong_inputs(library: Library, inputs: tuple[np.ndarray, ...]) -> None:
    image, bias = inputs
    with pytest.raises(TypeError, match=r"takes 2 inputs \(image \(2, 5, 4, 3\), bias \(2, 7\)\), not 1"):
        library(image)
    with pytest.raises(TypeError, match="image needs float32, not uint8"):
        library(image.astype(np.uint8), bias)
    with pytest.raises(ValueError, match=r"image needs the shape \(2, 5, 4, 3\) \(NHWC\), not \(2, 3, 5, 4\)"):
        library(image.transpose(0, 3, 1, 2), bias)
    with pytest.raises(OutsideError, match="no pool of 5000 threads"):
        library(image, bias, threads=5000)
    with pytest.raises(RunError, match="the workspace has 0 bytes"), library._exec(1) as how:
        library.run_exec(library.prepare(*inputs), library.empty_outputs(), aligned_empty(64)[:0], how)


def test_profile(library: Library, inputs: tuple[np.ndarray, ...]) -> None:
    times = library.profile(*inputs, threads=2, repeats=5)
    assert [(t.index, t.name) for t in times] == [(0, "scale"), (1, "dense"), (2, "mix")]
    assert all(len(t.nanoseconds) == 5 and t.median > 0 for t in times)


def test_bind_runs_on_the_same_arrays(library: Library, inputs: tuple[np.ndarray, ...]) -> None:
    image = inputs[0].copy()
    again = library.bind(image, inputs[1], threads=2)
    first = again()[1].copy()
    image *= 2
    second = again()
    assert second[1] is again()[1] and not np.array_equal(first, second[1])
    assert np.array_equal(second[1], library.run(image, inputs[1])[1])


def test_failing_kernel(tmp_path: Path, inputs: tuple[np.ndarray, ...]) -> None:
    library = Library(write_library(toy_spec("failing", fail=True), tmp_path / "failing").directory)
    with pytest.raises(RunError, match=r'kernel "scale" answered -7 \(status 5\)') as caught:
        library(*inputs)
    assert caught.value.status == 5


def test_pools_end_with_the_library(toys: Callable[..., Toys], inputs: tuple[np.ndarray, ...]) -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/task"))
    library = Library(toys()[0].directory)
    library.run(*inputs, threads=4)
    assert len(os.listdir("/proc/self/task")) == before + 3
    library.close()
    assert len(os.listdir("/proc/self/task")) == before
    library.run(*inputs, threads=3)
    del library
    gc.collect()
    assert len(os.listdir("/proc/self/task")) == before


FORK = """
import os, sys
import numpy as np
from mncc.devices.loaded import Library
library = Library(sys.argv[1])
inputs = [np.ones(t.shape, np.float32) for t in library.inputs]
expected = library.run(*inputs, threads=3)[1]
child = os.fork()
if child == 0:  # its pool's threads stayed with the parent: it starts its own
    same = np.array_equal(library.run(*inputs, threads=3)[1], expected)
    library.close()
    os._exit(0 if same else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_child_of_fork_starts_its_own_pool(toys: Callable[..., Toys]) -> None:
    says(sys.executable, "-c", FORK, toys()[0].directory)


def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match="holds no library"):
        Library(tmp_path)
    with pytest.raises(OutsideError, match="cannot load"):
        Library(tmp_path / "libmissing.so")
    (tmp_path / "libtext.so").write_text("not a library")
    (tmp_path / "text.json").write_text('{"format": "mncc-library"}')
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(OutsideError, match="cannot load"):
        Library(tmp_path)
    with pytest.raises(OutsideError, match=r"holds no library lib\*_probe\.so"):
        Probe(tmp_path)


def test_other_shared_libraries_are_refused() -> None:
    with pytest.raises(OutsideError, match="is no library of mncc"):
        Library(next(word for word in Path("/proc/self/maps").read_text().split() if "libc.so" in word))


def test_network_may_be_called_probe(tmp_path: Path) -> None:
    write_library(toy_spec("net_probe"), tmp_path / "out", probe=True)
    assert Library(tmp_path / "out").name == "net_probe"
    assert Probe(tmp_path / "out").name == "net_probe"


def test_probe_runs_single_kernels(toys: Callable[..., Toys], inputs: tuple[np.ndarray, ...]) -> None:
    folder = toys()[0].directory
    probe = Probe(folder)
    hidden, scores = Library(folder).run(*inputs)
    assert [kernel["name"] for kernel in probe.kernels] == ["scale", "dense", "mix"]
    assert probe.weights.tobytes() == toy_weights().tobytes()
    for n in range(2):
        out, dense, mixed = np.empty_like(hidden[n]), np.empty(CLASSES, np.float32), np.empty(CLASSES, np.float32)
        probe.run(0, [inputs[0][n], out])
        probe.run(1, [out, dense], items=(0, 3))
        probe.run(1, [out, dense], items=(3, CLASSES))
        probe.run(2, [dense, inputs[1][n], mixed])
        assert np.array_equal(out, hidden[n]) and np.array_equal(mixed, scores[n])
    doubled = aligned_empty(probe.weights.nbytes)
    doubled.view(np.float32)[:] = 2 * toy_weights()
    probe.run(0, [inputs[0][0], out], weights=doubled)
    assert np.array_equal(out, 2 * hidden[0])
    with pytest.raises(RunError, match="kernel 3"):
        probe.run(3, [], items=(0, 1))
