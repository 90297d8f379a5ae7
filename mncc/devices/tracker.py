"""`tracker://host:port/key`: the machines that TVM's RPC tracker knows under that key, as many as there are.

Each runs `python -m tvm.exec.rpc_server --tracker host:port --key KEY`, nothing of mncc. Such a server takes files and
loads modules; the one that a session begins with runs programs (run_program.c). TVM's client has a process of its own:
where a server dies, it may never come back.
"""

from __future__ import annotations

import json
import re
import shlex
import socket
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mncc.devices.device import Device, Finished, Session
from mncc.devices.errors import UnknownDevice
from mncc.devices.helper import Helper, HelperError
from mncc.kernels.target import Target
from mncc.language.diagnostic import DiagnosticError, OutsideError
from mncc.library.toolchain import find_toolchain

_FORM = re.compile(r"tracker://(?P<host>[^@:/\s\[]+|\[[^\]\s]+\]):(?P<port>\d{1,5})/(?P<key>[\w.+-]+)")
_SOURCE = Path(__file__).parent / "run_program.c"
_MODULE, _OUT, _ERR = "run_program.so", "out", "err"
_NOT_ENDED, _NOT_STARTED = -1000, -1001
_REACH_SECONDS, _CONNECT_SECONDS, _COPY_SECONDS, _GRACE = 10.0, 120.0, 1800.0, 20.0
_MAGIC, _SUMMARY, _SUCCESS = 0x2F271, 6, 0
"""Of the tracker's protocol (tvm.rpc.base)."""
_FREE_SECONDS = 5.0
"""In which a server that was used until now tells the tracker that it is free again."""


@dataclass(frozen=True)
class Tracker(Device):
    """The servers of one key."""

    host: str
    port: int
    key: str

    @property
    def name(self) -> str:
        return f"tracker://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/{self.key}"

    def check(self, target: Target) -> None:
        find_toolchain(target.triple)
        if "linux" not in target.triple:
            raise DiagnosticError([UnknownDevice(self.name, f"no RPC server runs programs for {target.name}")])

    def seats(self) -> int:
        """As many as there are servers, whether others use them or not."""
        servers, _ = self.servers()
        if servers == 0:
            words = f"--tracker {self.host}:{self.port} --key {self.key}"
            help = f"start one on each device: python -m tvm.exec.rpc_server --host 0.0.0.0 {words}"
            raise OutsideError(f"{self.name}: the tracker knows no server with this key", help)
        return servers

    def servers(self) -> tuple[int, int]:
        """How many servers the tracker knows, and how many of them nobody uses. Raises OutsideError."""
        try:
            summary = _ask_tracker(self.host, self.port)
            servers = sum(server["key"] == f"server:{self.key}" for server in summary["server_info"])
            return servers, summary["queue_info"].get(self.key, {}).get("free", 0)
        except (OSError, ValueError, TypeError, KeyError, struct.error) as error:
            help = f"start one: python -m tvm.exec.rpc_tracker --host 0.0.0.0 --port {self.port}"
            raise OutsideError(f"{self.name}: no tracker answers there: {error}", help) from error

    def _wait_for_server(self) -> None:
        """Returns when a server is free. Raises OutsideError where none is for a while."""
        deadline = time.monotonic() + _FREE_SECONDS
        while self.servers()[1] == 0:
            if time.monotonic() > deadline:
                raise OutsideError(f"{self.name}: all servers with this key are in use, or lost", "try again later")
            time.sleep(0.1)

    @contextmanager
    def open(self, target: Target) -> Iterator[TrackerSession]:
        self._wait_for_server()
        with tempfile.TemporaryDirectory(prefix="mncc-tracker-", ignore_cleanup_errors=True) as folder:
            flags = ["-O2", "-shared", "-fPIC", "-fvisibility=hidden", str(_SOURCE), "-o", _MODULE]
            find_toolchain(target.triple).compile("compiling the module for RPC servers", flags, Path(folder))
            with _helper(self) as helper:
                _asked(self, helper, "connect", str(Path(folder, _MODULE)), seconds=_CONNECT_SECONDS)
                yield TrackerSession(self, helper)


class TrackerSession(Session):
    """A server's temporary folder."""

    def __init__(self, device: Tracker, helper: Helper) -> None:
        self.device, self.helper = device, helper

    def send(self, file: Path, name: str, program: bool = False) -> None:
        _asked(self.device, self.helper, "send", str(file), name, seconds=_COPY_SECONDS)
        if program:
            self._line(f"chmod 700 {shlex.quote(name)}", _GRACE)

    def run(self, program: str, arguments: Sequence[str], timeout: float) -> Finished:
        return self._line(f"exec {shlex.join([f'./{program}', *arguments])}", timeout)

    def fetch(self, name: str, file: Path) -> None:
        file.write_bytes(_asked(self.device, self.helper, "fetch", name, seconds=_COPY_SECONDS))

    def _line(self, line: str, timeout: float) -> Finished:
        status, out, err = _asked(self.device, self.helper, "run", line, timeout, seconds=timeout + _GRACE)
        if status == _NOT_ENDED:
            raise OutsideError(f"{self.device.name}: the program did not end within {timeout:.0f} s", "is it stuck?")
        if status == _NOT_STARTED or status in (126, 127):
            help = "is it a machine of the target's architecture?"
            raise OutsideError(f"{self.device.name}: the program cannot be started\n{err}".rstrip(), help)
        return Finished(status, out, err)


def _ask_tracker(host: str, port: int) -> Any:
    """What a tracker knows of its servers, by its own protocol, for which TVM need not be loaded. Raises OSError,
    ValueError, struct.error."""
    question = json.dumps([_SUMMARY]).encode()
    with socket.create_connection((host, port), _REACH_SECONDS) as connection, connection.makefile("rwb") as stream:
        stream.write(struct.pack("<i", _MAGIC))
        stream.flush()
        if struct.unpack("<i", stream.read(4)) != (_MAGIC,):
            raise ValueError("it is none")
        stream.write(struct.pack("<i", len(question)) + question)
        stream.flush()
        (size,) = struct.unpack("<i", stream.read(4))
        code, summary = json.loads(stream.read(size))
        if code != _SUCCESS:
            raise ValueError(f"it answers {code}")
        return summary


@contextmanager
def _helper(device: Tracker) -> Iterator[Helper]:
    """The process that uses TVM's client."""
    helper = Helper(_client, device.host, device.port, device.key)
    try:
        yield helper
    finally:
        helper.close()


def _asked(device: Tracker, helper: Helper, *words: object, seconds: float) -> Any:
    try:
        return helper.call(*words, seconds=seconds)
    except HelperError as error:
        what = f"{device.name}: the server was lost, or answers no more: {_last_line(str(error))}"
        raise OutsideError(what, "see that a server of this key is up and free, then try again") from error


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def _client(host: str, port: int, key: str) -> Callable[..., Any]:
    """In the process: a function of the name of what is asked, and its arguments."""
    from tvm import rpc

    tracker = rpc.connect_tracker(host, port)
    state: dict[str, Any] = {}

    def connect(module: str) -> None:
        session = tracker.request(key, max_retry=1)
        session.upload(module, _MODULE)
        state["session"], state["run"] = session, session.load_module(_MODULE)["mncc_run"]
        state["folder"] = session.get_function("tvm.rpc.server.workpath")("")

    def send(file: str, name: str) -> None:
        state["session"].upload(file, name)

    def fetch(name: str) -> bytes:
        return bytes(state["session"].download(name))

    def run(line: str, timeout: float) -> tuple[int, str, str]:
        status = int(state["run"](line, state["folder"], round(timeout)))
        said = [fetch(name).decode(errors="replace") for name in (_OUT, _ERR)]
        return status, said[0], said[1]

    asked: dict[str, Callable[..., Any]] = {"connect": connect, "send": send, "fetch": fetch, "run": run}
    return lambda what, *arguments: asked[what](*arguments)


def parse_tracker(text: str) -> Tracker:
    """The device of `tracker://host:port/key`. Raises DiagnosticError."""
    parts = _FORM.fullmatch(text)
    if parts is None or not 1 <= int(parts["port"]) <= 65535:
        raise DiagnosticError([UnknownDevice(text, "expected tracker://host:port/key")])
    return Tracker(parts["host"].strip("[]"), int(parts["port"]), parts["key"])
