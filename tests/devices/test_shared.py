"""Several programs of one name in one session."""

from __future__ import annotations

from pathlib import Path

from mncc.devices.process import Local
from mncc.devices.shared import Shared
from mncc.kernels.target import load_target


def test_programs_of_one_name_run_in_one_session(tmp_path: Path) -> None:
    target = load_target("native")
    (tmp_path / "said").write_text("hello\n")
    with Local().open(target) as session:
        shared = Shared(Local(), session)
        with shared.open(target) as first, shared.open(target) as second:
            for number, part in enumerate((first, second)):
                (tmp_path / "program").write_text(f"#!/bin/sh\ncat said; echo {number} > answer\n")
                part.send(tmp_path / "program", "program", program=True)
            first.send(tmp_path / "said", "said")
            for number, part in ((1, second), (0, first)):
                assert part.run("program", [], 20.0).out == "hello\n"
                part.fetch("answer", tmp_path / "answer")
                assert (tmp_path / "answer").read_text() == f"{number}\n"
    assert shared.name == "local"
