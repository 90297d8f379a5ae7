"""Machines behind ssh and adb: files and programs, every failure in words, and nothing left behind on them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mncc.devices import adb
from mncc.devices.device import Session
from mncc.devices.find import find_device
from mncc.kernels.target import Target, load_target
from mncc.language.diagnostic import DiagnosticError, OutsideError
from tests.devices.sshd import Sshd, needs_sshd, start_sshd

ADB = Path(__file__).parent / "adb_stand_in.sh"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    sshd = start_sshd(tmp_path_factory.mktemp("ssh") / "server")
    yield sshd
    sshd.close()


@pytest.fixture
def ssh(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> Sshd:
    monkeypatch.setenv("PATH", f"{server.folder / 'bin'}:{os.environ['PATH']}")
    server.before(":")
    return server


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that a stand-in of adb takes for the device's; a file `fault` beside it says how the device fails."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "adb").symlink_to(ADB)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("ADB_FAULT", str(tmp_path / "fault"))
    monkeypatch.setattr(adb, "_PLACE", str(tmp_path / "tmp"))
    return tmp_path


@pytest.fixture
def target() -> Target:
    return load_target("native")


def script(folder: Path, text: str) -> Path:
    path = folder / "script"
    path.write_text(f"#!/bin/sh\n{text}\n")
    return path


def use(session: Session, folder: Path) -> None:
    """Files there and back, with every byte; a program with its arguments, status and words."""
    content = bytes(range(256)) * 999
    (folder / "content").write_bytes(content)
    session.send(folder / "content", "a file")
    session.fetch("a file", folder / "back")
    assert (folder / "back").read_bytes() == content
    session.send(script(folder, 'wc -c < "$1"; echo "$2" >&2; exit 7'), "program", program=True)
    finished = session.run("program", ["a file", "it's $HOME"], 60)
    assert (finished.status, finished.out.strip(), finished.err.strip()) == (7, str(len(content)), "it's $HOME")
    session.send(script(folder, "kill -ILL $$"), "program", program=True)
    assert session.run("program", [], 60).status == 128 + signal.SIGILL
    with pytest.raises(OutsideError, match="nothing cannot be copied"):
        session.fetch("nothing", folder / "back")


@needs_sshd
def test_ssh(ssh: Sshd, target: Target, tmp_path: Path) -> None:
    with find_device(ssh.text).open(target) as session:
        use(session, tmp_path)
        assert len(os.listdir(ssh.place)) == 1
    assert os.listdir(ssh.place) == []
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    device = find_device(f"{ssh.text}{tmp_path}")
    with device.open(target):
        assert any(name.startswith("mncc.") for name in os.listdir(tmp_path))
    assert not any(name.startswith("mncc.") for name in os.listdir(tmp_path))


@needs_sshd
def test_a_login_that_talks(ssh: Sshd, target: Target, tmp_path: Path) -> None:
    """What a login prints is no part of a file or an answer; its folder for temporary files may hold a space."""
    ssh.before('mkdir -p "$TMPDIR/a b"; TMPDIR="$TMPDIR/a b"; echo welcome; printf "to this machine"')
    with find_device(ssh.text).open(target) as session:
        use(session, tmp_path)
        assert os.listdir(ssh.place / "a b") == [Path(session.folder).name]
    assert os.listdir(ssh.place / "a b") == []
    (ssh.place / "a b").rmdir()


@needs_sshd
def test_a_program_that_has_ended_is_not_killed(ssh: Sshd, target: Target, tmp_path: Path) -> None:
    """Its process number may be another program's then."""
    with find_device(ssh.text).open(target) as session:
        session.send(script(tmp_path, "exit 3"), "program", program=True)
        assert session.run("program", [], 60).status == 3
        assert sorted(os.listdir(Path(session.folder))) == ["program"]


def test_adb(phone: Path, target: Target) -> None:
    for text in ("adb://emulator-5554", "adb://"):
        device = find_device(text)
        device.check(target)
        with device.open(target) as session:
            use(session, phone)
            assert len(os.listdir(phone / "tmp")) == 1
        assert os.listdir(phone / "tmp") == []


@pytest.mark.parametrize(
    ("fault", "words", "help"),
    [
        ("error: device offline", "cannot be reached:\nerror: device offline", "`adb devices` lists"),
        ("error: device unauthorized.", "unauthorized", "allow this computer"),
        ("error: more than one device/emulator", "more than one", "--device adb://serial"),
    ],
)
def test_a_phone_that_is_not_there(phone: Path, target: Target, fault: str, words: str, help: str) -> None:
    (phone / "fault").write_text(fault)
    with pytest.raises(OutsideError, match=words) as caught, find_device("adb://1").open(target):
        pass
    assert caught.value.help and help in caught.value.help


def test_a_phone_that_is_unplugged(phone: Path, target: Target) -> None:
    with find_device("adb://1").open(target) as session:
        session.send(script(phone, "exit 0"), "program", program=True)
        (phone / "fault").write_text("error: device '1' not found")
        for lost in (
            lambda: session.run("program", [], 60),
            lambda: session.fetch("program", phone / "back"),
            lambda: session.send(phone / "script", "again"),
        ):
            with pytest.raises(OutsideError, match="the connection was lost:\nerror: device '1' not found"):
                lost()
    assert os.listdir(phone / "tmp") == []


def test_missing_tools(tmp_path: Path, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for text, words in (("ssh://pi@board", "there is no ssh"), ("adb://", "there is no adb")):
        with pytest.raises(OutsideError, match=words) as caught:
            find_device(text).check(target)
        assert caught.value.help and "apt-get install" in caught.value.help


def refused(device: str, target: Target, words: str) -> OutsideError:
    """The error of a session that must not begin."""
    with pytest.raises(OutsideError, match=words) as caught, find_device(device).open(target):
        pass
    return caught.value


@needs_sshd
def test_hosts_that_cannot_be_reached(ssh: Sshd, target: Target) -> None:
    error = refused("ssh://pi@127.0.0.1:1", target, r"cannot be reached:\n.*refused")
    assert error.help == "see whether `ssh -p 1 pi@127.0.0.1 true` works"
    nobody = f"ssh://nobody-of-that-name@127.0.0.1:{ssh.port}"
    error = refused(nobody, target, r"cannot be reached:\n.*Permission denied")
    assert error.help and "needs no password" in error.help


@needs_sshd
def test_a_machine_of_another_kind(ssh: Sshd) -> None:
    other = load_target("armv7" if os.uname().machine == "x86_64" else "x86-64-v3")
    error = refused(ssh.text, other, "which does not run programs for")
    assert error.help and "--target" in error.help
    assert os.listdir(ssh.place) == []


@needs_sshd
def test_a_program_that_cannot_start(ssh: Sshd, target: Target, tmp_path: Path) -> None:
    """One for another machine, one that is no program, one that was never sent."""
    (tmp_path / "other").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xff\xff" + bytes(100))
    with find_device(ssh.text).open(target) as session:
        session.send(tmp_path / "other", "other", program=True)
        session.send(tmp_path / "other", "data")
        for name in ("other", "data", "missing"):
            with pytest.raises(OutsideError, match="the program cannot be started:\n"):
                session.run(name, [], 60)


@needs_sshd
@pytest.mark.parametrize("how", ["limit", "tmpfs"])
def test_a_full_disk(ssh: Sshd, target: Target, tmp_path: Path, how: str) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(300_000))
    if how == "limit":
        ssh.before("ulimit -f 64")
        check_full(ssh.text, target, large)
    else:
        with mounted(tmp_path / "small", "size=128k") as folder:
            check_full(f"{ssh.text}{folder}", target, large)
            assert os.listdir(folder) == []
    assert os.listdir(ssh.place) == []


def check_full(device: str, target: Target, large: Path) -> None:
    full = "its disk is full, large cannot be copied"
    with find_device(device).open(target) as session, pytest.raises(OutsideError, match=full) as caught:
        session.send(large, "large")
    assert caught.value.help and "free some space there, or name another folder" in caught.value.help


@needs_sshd
def test_a_disk_without_programs(ssh: Sshd, target: Target, tmp_path: Path) -> None:
    with mounted(tmp_path / "data", "noexec") as folder, find_device(f"{ssh.text}{folder}").open(target) as session:
        session.send(script(tmp_path, "exit 0"), "program", program=True)
        with pytest.raises(OutsideError, match=r"cannot be started:\n.*ermission denied") as caught:
            session.run("program", [], 60)
    assert caught.value.help and "noexec" in caught.value.help


class mounted:
    """A small file system; only root may mount one."""

    def __init__(self, folder: Path, options: str) -> None:
        self.folder, self.options = folder, options

    def __enter__(self) -> Path:
        self.folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", self.options, "mncc-test", str(self.folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("a file system cannot be mounted here")
        return self.folder

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", str(self.folder)], check=True)


@needs_sshd
def test_a_folder_that_cannot_be_made(ssh: Sshd, target: Target) -> None:
    error = refused(f"{ssh.text}/no/such/folder", target, "no temporary folder can be made")
    assert error.help and "--device ssh://" in error.help


@needs_sshd
def test_a_connection_that_is_lost(ssh: Sshd, target: Target, tmp_path: Path) -> None:
    """In the middle of a program: an error at once, and the far side ends it and cleans up by itself."""
    with find_device(ssh.text).open(target) as session:
        session.send(script(tmp_path, f"echo $$ > {tmp_path}/running; exec sleep 600"), "program", program=True)
        timer = threading.Timer(0.1, lambda: (until((tmp_path / "running").exists), ssh.lose()))
        timer.start()
        with pytest.raises(OutsideError, match="the connection was lost") as caught:
            session.run("program", [], 60)
        timer.join()
        with pytest.raises(OutsideError, match="the connection was lost"):
            session.send(tmp_path / "script", "again")
    assert caught.value.help and "temporary folder" in caught.value.help
    until(lambda: os.listdir(ssh.place) == [])
    until(lambda: not runs(int((tmp_path / "running").read_text())))


@needs_sshd
def test_a_program_that_does_not_end(ssh: Sshd, target: Target, tmp_path: Path) -> None:
    with find_device(ssh.text).open(target) as session:
        session.send(script(tmp_path, f"echo $$ > {tmp_path}/running; exec sleep 600"), "program", program=True)
        with pytest.raises(OutsideError, match="did not end within 1 s"):
            session.run("program", [], 1)
    assert os.listdir(ssh.place) == []
    until(lambda: not runs(int((tmp_path / "running").read_text())))


@needs_sshd
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_an_end_of_mncc(ssh: Sshd, tmp_path: Path, number: signal.Signals) -> None:
    """However mncc ends, no program goes on and no folder stays on the device."""
    program = script(tmp_path, f"echo $$ > {tmp_path}/running; exec sleep 600")
    lines = (
        "import sys",
        "from pathlib import Path",
        "from mncc.devices.find import find_device",
        "from mncc.kernels.target import load_target",
        "with find_device(sys.argv[1]).open(load_target('native')) as session:",
        "    session.send(Path(sys.argv[2]), 'program', program=True)",
        "    session.run('program', [], 600)",
    )
    command = [sys.executable, "-c", "\n".join(lines), ssh.text, str(program)]
    here = {**os.environ, "TMPDIR": str(tmp_path)}  # a killed process leaves its own files
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=here) as process:
        until(lambda: (tmp_path / "running").exists())
        process.send_signal(number)
        process.wait(timeout=60)
    until(lambda: os.listdir(ssh.place) == [])
    until(lambda: not runs(int((tmp_path / "running").read_text())))


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    """Waits for a condition."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_devices_are_called() -> None:
    for text in ("ssh://board", "ssh://pi@board:22/tmp/x", "ssh://pi@[::1]:2222", "adb://", "adb://R58M123", "tracker://h:9190/pi-5"):
        assert find_device(text).name == text
    wrong = ("ssh://", "ssh://pi@", "ssh://a b", "ssh://h:port", "ssh:h", "adb://-x", "adb://a/b", "tracker://h/k")
    for text in wrong:
        with pytest.raises(DiagnosticError):
            find_device(text)
