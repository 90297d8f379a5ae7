"""mncc as a process of its own: colours, pipes, other folders, other processes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

MNCC = [sys.executable, "-m", "mncc"]


def on_a_terminal(*arguments: str, **more: str) -> str:
    """What a command prints where standard output and standard error are a terminal."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"TERM": "xterm-256color", **more}
    with subprocess.Popen([*MNCC, *arguments], stdout=theirs, stderr=theirs, env=environment):
        os.close(theirs)
        printed = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux answers EIO when the last writer has gone
                break
            if not part:
                break
            printed += part
    os.close(ours)
    return printed.decode()


def test_colours_are_for_terminals() -> None:
    assert "\x1b[1;31merror" in on_a_terminal("check", "missing.mn")
    assert "\x1b[1;31merror" not in on_a_terminal("check", "missing.mn", NO_COLOR="1")


def test_a_reader_that_goes_away(tiny: Path) -> None:
    """`mncc emit ... | head -1`: no traceback."""
    command = [*MNCC, "emit", str(tiny), "--stage", "asm"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        said = process.stderr.read().decode()
    assert "Traceback" not in said and "error" not in said


def test_the_same_bytes_in_any_folder_and_process(tiny: Path, tmp_path: Path) -> None:
    contents = []
    for number in ("1", "2"):
        folder = tmp_path / ("deeper" * int(number))
        folder.mkdir()
        (folder / "net.mn").write_text(tiny.read_text())
        environment = {**os.environ, "MNCC_CACHE": "off", "PYTHONHASHSEED": number}
        command = [*MNCC, "build", "net.mn", "-o", "out", "--target", "x86-64-v3"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        contents.append({path.name: path.read_bytes() for path in (folder / "out").iterdir()})
    first, second = contents
    assert first.keys() == second.keys()
    for name, content in first.items():
        assert content == second[name], f"{name} differs between two folders"
        assert str(tmp_path).encode() not in content, f"{name} names a folder of the build"
