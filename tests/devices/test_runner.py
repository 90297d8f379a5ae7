"""The program that answers requests on a device answers as this process does, and says what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mncc.devices.device import require_success
from mncc.devices.here import Here
from mncc.devices.loaded import Interface, Library, Probe, RunError
from mncc.devices.process import Local
from mncc.devices.requests import AboutMachine, KernelRun, NetworkRun, Operand, PeakSample, Place, Repeat
from mncc.devices.runner import Remote, build_runner, write_requests
from mncc.kernels.target import load_target
from mncc.language.diagnostic import OutsideError
from mncc.library.toolchain import find_toolchain
from mncc.library.write import LibraryFiles, write_library
from mncc.report.machine import cpu_name
from tests.library.conftest import Toys
from tests.library.toy import CHANNELS, CLASSES, HEIGHT, TRIPLE, WIDTH, toy_spec

OUTPUTS = (Interface("hidden", (2, HEIGHT, WIDTH, CHANNELS)), Interface("scores", (2, CLASSES)))


@contextmanager
def remote(files: LibraryFiles, build: Path) -> Iterator[Remote]:
    """A runner of this machine, in a process and folder of its own."""
    target = load_target("native")
    runner = build_runner("toy", files, target, find_toolchain(TRIPLE), build)
    with Local().open(target) as session:
        session.send(runner, runner.name, program=True)
        yield Remote(session, Local(), target, "toy", OUTPUTS)


@pytest.fixture
def places(toys: Callable[..., Toys], tmp_path: Path) -> Iterator[tuple[Place, Place]]:
    """The same library in this process and behind a runner."""
    files = toys()[0]
    assert files.probe is not None
    with Library(files.shared) as library, remote(files, tmp_path) as runner:
        yield Here(library, Probe(files.probe)), runner


def inputs(seed: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(OUTPUTS[0].shape, np.float32), rng.standard_normal(OUTPUTS[1].shape, np.float32)


def kernel_run(kernel: int, start: int, seed: int = 3) -> KernelRun:
    """The first kernel of the toy, on memory that begins `start` bytes before the tensors."""
    image = np.zeros(start // 4 + inputs(seed)[0][0].size, np.float32)
    image[start // 4 :] = inputs(seed)[0][0].reshape(-1)
    return KernelRun(kernel, (Operand(image, start), Operand(image.nbytes + 12, start)))


def test_answers_are_those_of_this_process(places: tuple[Place, Place]) -> None:
    requests: list[NetworkRun | KernelRun] = [
        NetworkRun(inputs(1)),
        NetworkRun(inputs(2), threads=3),
        NetworkRun(None, repeat=Repeat(least=4, most=4)),
        kernel_run(0, 0),
        kernel_run(0, 16),
        NetworkRun(inputs(1), threads=2, repeat=Repeat(least=3, most=3), profile=True),
    ]
    here, there = (list(place.answers(requests)) for place in places)
    for one, other, request in zip(here, there, requests, strict=True):
        assert [array.tobytes() for array in one.outputs] == [array.tobytes() for array in other.outputs]
        assert [array.shape for array in one.outputs] == [array.shape for array in other.outputs]
        assert len(one.seconds) == len(other.seconds) == request.repeat.least
        assert one.kernels.shape == other.kernels.shape
    assert here[0].outputs[0].tobytes() == here[5].outputs[0].tobytes() != here[1].outputs[0].tobytes()
    assert there[5].kernels.shape == (3, 3) and (there[5].kernels.sum(axis=1) <= there[5].seconds).all()


def test_what_a_kernel_does_not_write_is_nan(places: tuple[Place, Place]) -> None:
    for place in places:
        (answer,) = place.answers([kernel_run(0, 16)])
        floats = answer.outputs[0].view(np.float32)
        assert np.isnan(floats[[0, 1, 2, 3, -1, -2, -3]]).all() and not np.isnan(floats[4:-3]).any()


def test_runs_go_on_for_a_while(places: tuple[Place, Place]) -> None:
    for place in places:
        (answer,) = place.answers([NetworkRun(inputs(1), repeat=Repeat(least=2, most=10**9, seconds=0.02))])
        assert len(answer.seconds) > 2 and 0.02 <= sum(answer.seconds) < 1


def test_the_peak_is_measured_there(places: tuple[Place, Place]) -> None:
    for place in places:
        one, two = place.answers([PeakSample(1), PeakSample(2)])
        assert 1 < one.gflops < 2000 and 1 < two.gflops < 4000


def test_the_machine_is_told(places: tuple[Place, Place]) -> None:
    here, there = (next(place.answers([AboutMachine()])).machine for place in places)
    assert here is not None and there is not None
    assert (here.system, here.architecture) == (there.system, there.architecture) and there.cpus >= 1
    assert cpu_name(here.cpuinfo) == cpu_name(there.cpuinfo)


def test_a_kernel_that_fails(toys: Callable[..., Toys], tmp_path: Path) -> None:
    with remote(toys()[0], tmp_path) as there, pytest.raises(RunError, match="the kernel failed"):
        list(there.answers([kernel_run(99, 0)]))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("__builtin_trap()", "lacks an instruction"),
        ("*(volatile int *)8 = 1", "ended by SIGSEGV"),
        ("return 5", "answered 5"),
    ],
)
def test_a_crash_is_told(tmp_path: Path, fault: str, words: str) -> None:
    files = write_library(toy_spec(flags=(f"-DFAULT={fault}",)), tmp_path / "toy", probe=True)
    with remote(files, tmp_path) as there, pytest.raises((OutsideError, RunError), match=words):
        list(there.answers([NetworkRun(inputs(1))]))


def test_requests_and_answers_that_are_cut_off(places: tuple[Place, Remote], tmp_path: Path) -> None:
    there = places[1]
    broken = {b"": "end too early", b"mnccreq9": "another version", b"mnccreq1" + bytes([7] * 8): "of kind"}
    for content, words in broken.items():
        (tmp_path / "broken").write_bytes(content)
        there.session.send(tmp_path / "broken", "broken")
        finished = there.session.run("runner", ["broken", "answers"], 60)
        assert finished.status == 5 and words in finished.err
    finished = there.session.run("runner", ["nothing", "answers"], 60)
    assert finished.status == 3 and "No such file" in finished.err
    with (tmp_path / "peak").open("wb") as file:
        write_requests(file, [PeakSample(1)])
    there.session.send(tmp_path / "peak", "peak")
    finished = there.session.run("runner", ["peak", "/dev/full"], 60)
    with pytest.raises(OutsideError, match="its disk is full"):
        require_success(finished, "board", there.target)
    (tmp_path / "answers").write_bytes(b"mnccans1")
    with (tmp_path / "answers").open("rb") as answers, pytest.raises(OutsideError, match="end too early"):
        list(there.read(answers, [1]))
