"""Machines behind TVM's RPC tracker: files and programs, and every failure in words."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mncc.devices.find import find_device, find_devices
from mncc.kernels.target import load_target
from mncc.language.diagnostic import DiagnosticError, OutsideError
from tests.devices.farm import Farm, needs_tracker, start_farm

TARGET = load_target("native")


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    started = start_farm(tmp_path_factory.mktemp("farm"), servers=1)
    yield started
    started.close()


@pytest.mark.full
@needs_tracker
def test_programs_run_on_a_server_and_nothing_stays_there(farm: Farm, tmp_path: Path) -> None:
    device = find_device(farm.text)
    assert device.seats() == 1
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\ncat given; echo to stderr >&2; echo made > made; exit 3\n")
    (tmp_path / "given").write_text("what was sent\n")
    with device.open(TARGET) as session:
        session.send(script, "script", program=True)
        session.send(tmp_path / "given", "given")
        finished = session.run("script", ["an argument"], 20.0)
        assert (finished.status, finished.out, finished.err) == (3, "what was sent\n", "to stderr\n")
        session.fetch("made", tmp_path / "made")
        assert (tmp_path / "made").read_text() == "made\n"
        script.write_text("#!/bin/sh\nkill -ILL $$\n")
        session.send(script, "script", program=True)
        assert session.run("script", [], 20.0).status == -signal.SIGILL
        script.write_text("#!/bin/sh\nsleep 1000\n")
        session.send(script, "script", program=True)
        with pytest.raises(OutsideError, match="did not end within 1 s"):
            session.run("script", [], 1.0)
    deadline = time.monotonic() + 20
    while list(farm.place.rglob("script")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not list(farm.place.rglob("script"))


@pytest.mark.full
@needs_tracker
def test_a_key_without_servers_and_a_tracker_that_is_not_there(farm: Farm) -> None:
    with pytest.raises(OutsideError, match="knows no server with this key"):
        find_device(farm.text + "2").seats()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(OutsideError, match="no tracker answers there"):
            find_device(f"tracker://127.0.0.1:{unused.getsockname()[1]}/board").seats()


def test_what_trackers_are_called() -> None:
    assert find_device("tracker://[::1]:9190/pi").name == "tracker://[::1]:9190/pi"
    for wrong in ("tracker://", "tracker://host/key", "tracker://host:0/key", "tracker://host:99999/key"):
        with pytest.raises(DiagnosticError):
            find_device(wrong)


def test_several_devices() -> None:
    named = ("ssh://pi@a", "tracker://h:1/k", "command:nice -n 5,6", "qemu")
    assert tuple(device.name for device in find_devices(",".join(named))) == named
    with pytest.raises(DiagnosticError):
        find_devices("qemu,toaster")
