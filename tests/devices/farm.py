"""TVM's RPC tracker and servers on loopback, each in a process group of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from mncc.devices.find import find_device
from mncc.devices.tracker import Tracker

needs_tracker = pytest.mark.skipif(importlib.util.find_spec("tornado") is None, reason="needs tornado")
KEY = "board"
_SECONDS = 120.0


@dataclass
class Farm:
    """A tracker with servers of one key, which make their temporary folders in `place`."""

    port: int
    tracker: subprocess.Popen[bytes]
    servers: list[subprocess.Popen[bytes]]
    place: Path

    @property
    def text(self) -> str:
        """As --device has it."""
        return f"tracker://127.0.0.1:{self.port}/{KEY}"

    def kill(self, number: int) -> None:
        """Ends a server and all that it started, as when its machine loses power."""
        _kill(self.servers[number])

    def close(self) -> None:
        for process in (*self.servers, self.tracker):
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def start_farm(folder: Path, servers: int) -> Farm:
    """A tracker and its servers, which are there when this returns."""
    place = folder / "servers"
    place.mkdir(parents=True)
    port = _free_port()
    farm = Farm(port, _start(folder / "tracker", "tracker", port), [], place)
    try:
        _wait_for(port, farm.tracker, folder / "tracker")
        for number in range(servers):
            more = ("--tracker", f"127.0.0.1:{port}", "--key", KEY)
            environment = {"TMPDIR": str(place)}
            farm.servers.append(_start(folder / f"server{number}", "server", _free_port(), *more, **environment))
        _wait_for_servers(farm, folder)
    except BaseException:
        farm.close()
        raise
    return farm


def _start(log: Path, what: str, port: int, *words: str, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"tvm.exec.rpc_{what}", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as said:
        return subprocess.Popen(
            [*command, "--port-end", str(port + 1), *words],
            env={**os.environ, **environment},
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"port {port} does not answer: {log.read_text(errors='replace')[-500:]}")


def _wait_for_servers(farm: Farm, folder: Path) -> None:
    device = find_device(farm.text)
    assert isinstance(device, Tracker)
    deadline = time.monotonic() + _SECONDS
    while device.servers() != (len(farm.servers), len(farm.servers)):
        if time.monotonic() > deadline:
            logs = "".join(file.read_text(errors="replace") for file in sorted(folder.glob("server?")))
            raise RuntimeError(f"servers do not come: {logs[-800:]}")
        time.sleep(0.1)
