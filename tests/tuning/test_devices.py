"""Candidates on other machines, and on several at a time: every kind of device, and what happens where one is lost."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mncc.devices import adb
from mncc.devices.find import find_device, find_devices
from mncc.kernels.target import load_target
from mncc.language.diagnostic import DiagnosticError, OutsideError
from mncc.tuning import measure
from mncc.tuning.measure import open_measurer
from mncc.tuning.race import Limits
from mncc.tuning.task import Candidate
from tests.devices.farm import needs_tracker, start_farm
from tests.devices.machines import emulated
from tests.devices.sshd import Sshd, needs_sshd, start_sshd
from tests.devices.test_shell import ADB
from tests.tuning.test_measure import failures, in_order
from tests.tuning.toys import CRASH, GOOD, HANG, OTHER_CPU, SLOW, WRONG, candidates, compile_toy, toy_task

SHORT = Limits(build=20.0, run=5.0, least=5, most=10, seconds=0.02)


TOGETHER = """case "$SSH_ORIGINAL_COMMAND" in *./race*)
case "$SSH_ORIGINAL_COMMAND" in *second*) touch {folder}/b;; *) touch {folder}/a;; esac
n=0; while [ $n -lt 200 ] && ! [ -e {folder}/a -a -e {folder}/b ]; do sleep 0.1; n=$((n + 1)); done
esac"""
"""No candidate runs before one does on each of both devices."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    sshd = start_sshd(tmp_path / "server")
    monkeypatch.setenv("PATH", f"{sshd.folder / 'bin'}:{os.environ['PATH']}")
    yield sshd
    sshd.close()


@pytest.mark.parametrize("name", [emulated("arm64-cortex-a53"), emulated("armv7")])
def test_instructions_are_counted_under_qemu(name: str) -> None:
    task = toy_task(load_target(name))
    strips = (GOOD, SLOW, CRASH, WRONG, GOOD) + ((OTHER_CPU,) if name != "armv7" else ())
    given = candidates(task, *strips)
    with open_measurer(find_devices("qemu,qemu"), task.target, 2, limits=SHORT, compile=compile_toy) as measurer:
        measurer.submit(given)
        found = in_order(given, list(measurer.outcomes()))
        assert measurer.unit == "instructions"
    assert failures(found)[:5] == [None, None, "crash", "wrong", None]
    good, slow, again = (found[n].cost for n in (0, 1, 4))
    assert good and slow and good == again and 3.5 < slow / good < 4
    if name != "armv7":
        assert found[-1].failure and found[-1].failure.kind == "crash" and "SIGILL" in found[-1].failure.text


@pytest.mark.parametrize("name", [emulated("arm64")])
def test_a_command_is_timed(name: str) -> None:
    task = toy_task(load_target(name))
    given = candidates(task, GOOD, CRASH)
    device = find_device("command:qemu-aarch64 -cpu cortex-a53")
    with open_measurer([device], task.target, 1, limits=SHORT, compile=compile_toy) as measurer:
        measurer.submit(given)
        found = in_order(given, list(measurer.outcomes()))
        assert measurer.unit == "s"
    assert failures(found) == [None, "crash"]


@needs_sshd
def test_two_machines_behind_ssh_of_which_one_is_lost(server: Sshd) -> None:
    task = toy_task(load_target("native"))
    given = [one for seed in range(6) for one in candidates(toy_task(task.target, seed), GOOD, CRASH, SLOW)]
    (server.folder / "second").mkdir()
    server.before(TOGETHER.format(folder=server.folder))
    devices = find_devices(f"{server.text},{server.text}{server.folder}/second")
    with open_measurer(devices, task.target, 2, limits=SHORT, compile=compile_toy) as measurer:
        measurer.submit(given)
        outcomes = measurer.outcomes()
        found = [next(outcomes) for _ in range(4)]
        server.lose()
        found += outcomes
    assert failures(in_order(given, found)) == [None, "crash", None] * 6
    assert {outcome.device for outcome in found} == {device.name for device in devices}
    deadline = time.monotonic() + 20  # by then, the far side has noticed
    while left := [*server.place.iterdir(), *(server.folder / "second").iterdir()]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_a_phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "adb").symlink_to(ADB)
    (tmp_path / "there").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("ADB_FAULT", str(tmp_path / "fault"))
    monkeypatch.setattr(adb, "_PLACE", str(tmp_path / "there"))
    task = toy_task(load_target("native"))
    given = candidates(task, GOOD, HANG, SLOW)
    limits = replace(SHORT, run=1.0)
    with open_measurer([find_device("adb://")], task.target, 1, limits=limits, compile=compile_toy) as measurer:
        measurer.submit(given)
        found = in_order(given, list(measurer.outcomes()))
    assert failures(found) == [None, "hang", None]
    assert not list((tmp_path / "there").iterdir())


@needs_sshd
def test_no_device_is_left(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "RETRIES", (0.0, 0.1))
    task = toy_task(load_target("native"))
    with open_measurer([find_device(server.text)], task.target, 1, limits=SHORT, compile=compile_toy) as measurer:
        measurer.submit(candidates(task, GOOD))
        assert [outcome.failure for outcome in measurer.outcomes()] == [None]
        server.lose()
        server.close()
        measurer.submit(candidates(task, GOOD))
        with pytest.raises(OutsideError, match="no device is left"):
            list(measurer.outcomes())


@pytest.mark.full
@needs_tracker
def test_two_servers_of_a_tracker_of_which_one_dies(tmp_path: Path) -> None:
    target = load_target("native")
    given = [one for seed in range(8) for one in candidates(toy_task(target, seed), GOOD, CRASH, SLOW)]
    farm = start_farm(tmp_path / "farm", servers=2)
    try:
        device = find_device(farm.text)
        with open_measurer([device], target, 2, limits=SHORT, compile=compile_toy) as measurer:
            measurer.submit(given)
            outcomes = measurer.outcomes()
            found = [next(outcomes)]
            while len({outcome.device for outcome in found}) < 2:
                found.append(next(outcomes))
            farm.kill(0)
            found += outcomes
    finally:
        farm.close()
    assert failures(in_order(given, found)) == [None, "crash", None] * 8
    assert {outcome.device for outcome in found} == {f"{farm.text} #1", f"{farm.text} #2"}


def test_devices_of_two_kinds_are_refused() -> None:
    with (
        pytest.raises(DiagnosticError, match="instructions cannot be compared with seconds"),
        open_measurer(find_devices("qemu,command:true"), load_target("arm64"), 1),
    ):
        pass


def test_a_candidate_with_which_a_device_is_lost_twice_is_left_out(tmp_path: Path) -> None:
    task = toy_task(load_target("native"))
    wrapper = tmp_path / "wrapper"
    # The number of the candidate follows the program; the second one takes the answer with it.
    wrapper.write_text('#!/bin/sh\n[ "$2" = 2 ] && exit 0\nexec "$@"\n')
    wrapper.chmod(0o700)
    given: list[Candidate] = candidates(task, SLOW, WRONG, SLOW)
    device = find_device(f"command:{wrapper}")
    told: list[str] = []
    with open_measurer(
        [device], task.target, 1, limits=SHORT, compile=compile_toy, lost=lambda name, _: told.append(name)
    ) as measurer:
        measurer.submit(given)
        found = in_order(given, list(measurer.outcomes()))
    assert failures(found) == [None, "lost", None]
    assert told == [device.name] * 2
