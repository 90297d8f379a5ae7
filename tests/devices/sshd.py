"""An sshd of the test's own on loopback, with its own keys, settings and port, and an `ssh` that knows them."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
"""By its whole path, as it wants to be called."""
lacking = [name for name, found in (("sshd", SSHD), ("ssh", shutil.which("ssh"))) if not found]
needs_sshd = pytest.mark.skipif(bool(lacking), reason=f"needs {' and '.join(lacking)}")


@dataclass
class Sshd:
    """A server. What is reached through it makes its temporary folders in `place`."""

    folder: Path
    process: subprocess.Popen[bytes]
    port: int

    @property
    def place(self) -> Path:
        return self.folder / "far"

    @property
    def text(self) -> str:
        """As --device has it."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"

    def before(self, line: str) -> None:
        """Every command of the far side begins with this line of the shell."""
        (self.folder / "before").write_text(line)

    def close(self) -> None:
        """Ends the server."""
        self.process.terminate()
        self.process.wait()

    def sessions(self) -> list[int]:
        """The processes of the server that serve a connection, and what they have started."""
        found, newer = [], [self.process.pid]
        while newer:
            listed = subprocess.run(
                ["ps", "-o", "pid=", "--ppid", ",".join(map(str, newer))], capture_output=True, text=True, check=False
            )
            newer = [int(word) for word in listed.stdout.split()]
            found += newer
        return found

    def lose(self) -> None:
        """Ends the connections, as when the network fails; what they have started is left alone."""
        for number in self.sessions():
            name = Path(f"/proc/{number}/comm").read_text().strip() if Path(f"/proc/{number}").exists() else ""
            if name.startswith("sshd"):
                os.kill(number, 9)


def start_sshd(folder: Path) -> Sshd:
    """Starts a server that serves the user who runs the tests, in a new folder."""
    assert SSHD is not None
    folder.mkdir(mode=0o700)
    (folder / "far").mkdir()
    (folder / "before").write_text(":")
    for name in ("host", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copyfile(folder / "key.pub", folder / "authorized")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place, before = shlex.quote(str(folder / "far")), shlex.quote(str(folder / "before"))
    (folder / "session").write_text(
        f'#!/bin/sh\nexport TMPDIR={place}\n. {before}\nexec sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    (folder / "session").chmod(0o755)
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"PermitRootLogin prohibit-password\nForceCommand {folder}/session\nLogLevel VERBOSE\n"
    )
    (folder / "ssh_config").write_text(
        f"Host *\nIdentityFile {folder}/key\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known\n"
        "StrictHostKeyChecking accept-new\nLogLevel ERROR\n"
    )
    bin = folder / "bin"
    bin.mkdir()
    real = shutil.which("ssh")
    (bin / "ssh").write_text(f'#!/bin/sh\nexec {real} -F {shlex.quote(str(folder / "ssh_config"))} "$@"\n')
    (bin / "ssh").chmod(0o755)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd changes its root to it before it knows who comes
    log = (folder / "log").open("wb")
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    server = Sshd(folder, process, port)
    for _ in range(100):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return server
        if process.poll() is not None:
            break
        time.sleep(0.05)
    process.kill()
    pytest.skip(f"sshd does not start here: {(folder / 'log').read_text(errors='replace')[-300:]}")
