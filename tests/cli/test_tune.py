"""`mncc tune`: the loop with a measurer that computes its costs, and once with real ones."""

from __future__ import annotations

import errno
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

import mncc as package
from mncc.kernels.target import load_target
from mncc.language.diagnostic import OutsideError
from mncc.tuning.database import FAILURES, RECORDS, open_database
from mncc.tuning.tables import load_tables
from mncc.tuning.task import Outcome, Task
from mncc.verbs.job import Job, prepare
from mncc.verbs.tasks import tasks_of
from mncc.verbs.tune_whole import Facts, Whole
from tests.devices.farm import needs_tracker, start_farm
from tests.devices.sshd import needs_sshd, start_sshd
from tests.tuning.fakes import PEAK, FakeMeasurer

from .conftest import TINY, Answer

Program = Callable[..., Answer]
GOLDENS = Path(__file__).parent / "tune"
TARGET = "arm64-cortex-a76"
THERE = ("--target", TARGET, "--device", "command:true")
"""A device that nothing is asked of."""
ONE_KERNEL = """network one(resolution = 16, classes = 8)
input image: resolution x resolution x 8
channels c
defaults padding symmetric  epsilon 1e-5  activation relu6

Input      Operator  c   n  s
16^2 x 8   conv2d    16  1  1
"""


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where tables go; the search is a small one."""
    monkeypatch.setenv("MNCC_TUNED", str(tmp_path / "tuned"))
    monkeypatch.setattr("mncc.tuning.evolution.POPULATION", 32)
    monkeypatch.setattr("mncc.tuning.evolution.GENERATIONS", 2)
    return tmp_path / "tuned"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeMeasurer:
    """In the place of devices; in the whole network every kernel takes a tenth less with its tuned tiles."""
    measurer = FakeMeasurer()

    @contextmanager
    def opened(*_: object, **__: object) -> Iterator[FakeMeasurer]:
        with measurer:
            yield measurer

    monkeypatch.setattr("mncc.tuning.measure.open_measurer", opened)
    monkeypatch.setattr("mncc.verbs.tune.facts_of", lambda *_: Facts("a processor", PEAK))
    monkeypatch.setattr("mncc.verbs.tasks.tasks_of", lambda job, _: tasks_once(job))
    monkeypatch.setattr("mncc.backend.definition.code_of", lambda *_: "")
    whole_network(monkeypatch, lambda name: 0.9)
    return measurer


@functools.cache
def tiny_network_tasks() -> tuple[Task, ...]:
    """What is expected of tiny's kernels is computed once."""
    return tasks_of(prepare(TINY, {}, TARGET, tuned="none"))


def tasks_once(job: Job) -> tuple[Task, ...]:
    """In the place of tasks_of."""
    assert (job.network.name, job.target.name) == ("tiny", TARGET)
    return tiny_network_tasks()


def whole_network(monkeypatch: pytest.MonkeyPatch, ratio: Callable[[str], float]) -> None:
    """What tuned kernels take in the network, by the default's time."""

    def measured(jobs: Sequence[Job], *_: object) -> tuple[Whole, ...]:
        wholes = []
        for job in jobs:
            plan = job.plan()
            times = [1e-5 * (ratio(k.name) if plan.is_tuned(k) else 1.0) for k in plan.kernels]
            wholes.append(Whole(sum(times), tuple(times)))
        return tuple(wholes)

    monkeypatch.setattr("mncc.verbs.tune_confirm.measure_in_turn", measured)


def tuned_names() -> set[str]:
    """The kernels of tiny that a build takes from a table now."""
    text = package.emit(TINY, "plan", target=TARGET)
    return set(re.findall(r"^(k\d+)_[^\n]*\n[^\n]*\n[^\n]*with tuned tiles", text, re.MULTILINE))


def tiles_of(kernel: str, plan: str) -> list[str]:
    """The lines of a printed plan that have a kernel's tiles."""
    lines = plan.split(f"\n{kernel}_")[1].split("\nk0")[0].splitlines()
    return [line for line in lines if "tile" in line and "predicted" not in line]


def test_without_a_terminal_it_says_what_it_finds_line_by_line(
    mncc: Program,
    fake: FakeMeasurer,
    golden: Callable[[Path, str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mncc.report.tune.SAID", 1e9)
    answer = mncc("tune", TINY, *THERE, "--trials", "14")
    assert answer.status == 0, answer.err
    # What takes longer than a second is said too, on a slow machine.
    told = [line for line in answer.err.splitlines(keepends=True) if " ..." not in line]
    golden(GOLDENS / "plain.err", "".join(told))
    golden(GOLDENS / "plain.out", re.sub(r"\d+:\d\d minutes", "0:00 minutes", answer.out.replace(str(tmp_path), "...")))


def test_every_later_build_uses_what_was_found(mncc: Program, fake: FakeMeasurer) -> None:
    assert tuned_names() == set()
    assert mncc("tune", TINY, *THERE, "--trials", "40").status == 0
    assert len(tuned_names()) >= 2


def test_a_kernel_that_loses_in_the_network_goes_back_to_its_default(
    mncc: Program, fake: FakeMeasurer, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_network(monkeypatch, lambda name: 1.02 if name.startswith("k01") else 0.9)
    answer = mncc("tune", TINY, *THERE, "--trials", "40")
    assert re.search(r"k01_\w+ .* keeps its default, which is faster in the network", answer.out)
    plan, cost_model = (package.emit(TINY, "plan", target=TARGET, tuned=tuned) for tuned in (None, "none"))
    assert tiles_of("k01", plan) == tiles_of("k01", cost_model) and "k01" not in tuned_names()
    assert any(tiles_of(name, plan) != tiles_of(name, cost_model) for name in tuned_names())


def test_the_second_run_goes_on(mncc: Program, fake: FakeMeasurer) -> None:
    mncc("tune", TINY, *THERE, "--trials", "20")
    again = mncc("tune", TINY, *THERE, "--trials", "30")
    assert "goes on behind 20 trials of earlier runs" in again.err
    assert "30 trials, 20 of them by earlier runs" in again.out


def test_trials_of_another_processor_are_noted_and_not_used(
    mncc: Program, fake: FakeMeasurer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mncc("tune", TINY, *THERE, "--trials", "20")
    monkeypatch.setattr("mncc.verbs.tune.facts_of", lambda *_: Facts("another processor", PEAK))
    answer = mncc("tune", TINY, *THERE, "--trials", "20")
    assert "note: 20 trials in " in answer.err and "none is of these kernels" in answer.err
    assert re.search(r"^20 trials, \d", answer.out, re.MULTILINE)


def test_interrupted_it_keeps_its_trials_and_the_table(
    mncc: Program, fake: FakeMeasurer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops(fake, monkeypatch, KeyboardInterrupt())
    answer = mncc("tune", TINY, *THERE)
    assert answer.status == 130
    assert "tuned tiles are as they were" in answer.err and "30 trials are kept" in answer.err
    assert not tuned_names()


def test_interrupted_while_the_network_is_measured_it_says_the_same(
    mncc: Program, fake: FakeMeasurer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as there:
        there.setattr("mncc.verbs.tune_confirm.measure_in_turn", interrupted)
        answer = mncc("tune", TINY, *THERE, "--trials", "30")
    assert answer.status == 130 and "30 trials are kept" in answer.err
    assert not tuned_names()
    assert mncc("tune", TINY, *THERE, "--trials", "30").status == 0
    assert tuned_names()


def interrupted(*_: object) -> None:
    """In the place of measure_in_turn."""
    raise KeyboardInterrupt


def test_a_lost_device_is_told_and_costs_no_trial(
    mncc: Program, fake: FakeMeasurer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stops(fake, monkeypatch, OutsideError("no device is left to measure on: gone", "connect it"))
    answer = mncc("tune", TINY, *THERE, "--report", tmp_path / "search.html")
    assert answer.status == 3 and "no device is left" in answer.err and "30 trials are kept" in answer.err
    assert not tuned_names()
    assert (tmp_path / "search.html").read_text().count("<circle") > 20


def test_a_device_that_is_lost_is_told_and_in_the_log(
    mncc: Program, fake: FakeMeasurer, monkeypatch: pytest.MonkeyPatch, places: Path
) -> None:
    """What it said in one line on standard error, and all of it in the log."""

    @contextmanager
    def opened(*_: object, lost: Callable[[str, str], object], **__: object) -> Iterator[FakeMeasurer]:
        with fake:
            lost("ssh://pi@board2", "no answer\nis it plugged in?")
            yield fake

    monkeypatch.setattr("mncc.tuning.measure.open_measurer", opened)
    answer = mncc("tune", TINY, *THERE, "--trials", "20")
    assert answer.status == 0
    assert "warning: ssh://pi@board2 was lost: no answer\n" in answer.err
    log = (places / "search" / TARGET / FAILURES).read_text()
    assert log == "ssh://pi@board2 was lost\n    no answer\n    is it plugged in?\n"


def test_a_search_that_cannot_be_drawn_is_confirmed_all_the_same(
    mncc: Program, fake: FakeMeasurer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the folder was removed while it went on."""
    (tmp_path / "drawings").mkdir()
    outcomes = fake.outcomes

    def some() -> Iterator[Outcome]:
        shutil.rmtree(tmp_path / "drawings", ignore_errors=True)
        yield from outcomes()

    monkeypatch.setattr(fake, "outcomes", some)
    answer = mncc("tune", TINY, *THERE, "--trials", "40", "--report", tmp_path / "drawings" / "search.html")
    assert answer.status == 0 and "the search is not drawn" in answer.err
    assert tuned_names()


def test_a_second_process_is_refused_before_it_compiles_anything(
    mncc: Program, fake: FakeMeasurer, monkeypatch: pytest.MonkeyPatch, places: Path
) -> None:
    """All that is computed or compiled comes behind what the device is asked."""
    monkeypatch.setattr("mncc.verbs.tune.facts_of", lambda *_: pytest.fail("the device was asked"))
    monkeypatch.setattr("mncc.verbs.tasks.tasks_of", lambda *_: pytest.fail("kernels were computed"))
    with open_database(places / "search" / TARGET, "any", pytest.fail):
        answer = mncc("tune", TINY, *THERE)
    assert answer.status == 3 and "another `mncc tune` is at work" in answer.err
    assert fake.asked == []


def test_where_there_is_no_room_for_a_table_trials_are_kept(
    mncc: Program, fake: FakeMeasurer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as there:
        there.setattr("mncc.tuning.tables.add_to_table", no_room)
        answer = mncc("tune", TINY, *THERE, "--trials", "40")
    assert answer.status == 3 and "40 trials are kept" in answer.err
    assert f"{TARGET}.json cannot be written: No space left on device\nhelp: " in answer.err
    assert mncc("tune", TINY, *THERE, "--trials", "40").status == 0 and tuned_names()


def test_where_there_is_no_room_for_candidates_trials_are_kept(
    mncc: Program, fake: FakeMeasurer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops(fake, monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    answer = mncc("tune", TINY, *THERE)
    assert answer.status == 3 and "30 trials are kept" in answer.err
    assert "No space left on device\nhelp: " in answer.err and "TMPDIR" in answer.err


def no_room(*_: object) -> None:
    """In the place of whatever writes."""
    raise OSError(errno.ENOSPC, "No space left on device")


def stops(fake: FakeMeasurer, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """The measurer raises after 30 candidates."""
    outcomes = fake.outcomes

    def some() -> Iterator[Outcome]:
        for number, outcome in enumerate(outcomes()):
            if number == 30:
                raise error
            yield outcome

    monkeypatch.setattr(fake, "outcomes", some)


def test_a_table_of_other_kernels_is_noted_and_replaced(mncc: Program, fake: FakeMeasurer, places: Path) -> None:
    mncc("tune", TINY, *THERE, "--trials", "40")
    table = places / f"{TARGET}.json"
    data = json.loads(table.read_text())
    table.write_text(json.dumps({**data, "definition": "before"}))
    answer = mncc("tune", TINY, *THERE, "--trials", "40")
    assert answer.err.count("the code of kernels has changed") == 1
    assert f"{table} is written anew; what it was is {table}.old" in answer.err.replace("\n", " ")
    assert len(load_tables(load_target(TARGET)).kernels) >= 2


def test_the_drawing_has_every_kernel(mncc: Program, fake: FakeMeasurer, tmp_path: Path) -> None:
    page = tmp_path / "search.html"
    assert mncc("tune", TINY, *THERE, "--trials", "40", "--report", page).status == 0
    text = page.read_text()
    assert text.count("<polyline") >= 4 and text.count("<svg") == text.count("</svg>") == 2
    for name in ("k00_conv2d", "k01_bottleneck", "k02_bottleneck"):
        assert f"<td>{name}</td>" in text
    assert "http" not in text


@pytest.mark.parametrize(
    "more, words",
    [
        (("--trials", "3", "--minutes", "1"), "--trials and --minutes"),
        (("--minutes", "inf"), "--minutes inf"),
        (("--minutes", "nan"), "minutes"),
        (("--report", "no-such-folder/search.html"), "no-such-folder"),
        (("--report", "/"), "that is a folder"),
        (("--device", "somewhere"), "somewhere"),
        (("--device", "local,somewhere"), "somewhere"),
        (("--device", "qemu", "--target", "x86-64-v3"), "counted for arm64 and armv7"),
        (("--device", "qemu,command:true", "--target", "arm64"), "cannot be compared with seconds"),
        (("--report", "/proc/self/search.html"), "it cannot be written"),
        (("--target", "cuda-sm80"), "cuda-sm80"),
        (("--target", "x86-64-v3,x86-64-v4"), "name one"),
    ],
)
def test_a_wrong_command_line(mncc: Program, more: tuple[str, ...], words: str) -> None:
    answer = mncc("tune", TINY, *more)
    assert answer.status == 2 and words in answer.err


def test_without_a_place_for_tables_nothing_is_begun(mncc: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNCC_TUNED", "off")
    answer = mncc("tune", TINY, *THERE)
    assert answer.status == 2 and "MNCC_TUNED" in answer.err


@pytest.fixture
def one_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network of one convolution. In the end it is measured shortly, and once, however busy the machine is."""
    monkeypatch.setattr("mncc.verbs.tune_whole.ROUNDS", 3)
    monkeypatch.setattr("mncc.verbs.tune_confirm.DRIFT", 1e9)
    monkeypatch.setattr("mncc.tuning.search.HEATS", 1)
    path = tmp_path / "one.mn"
    path.write_text(ONE_KERNEL)
    return path


@pytest.mark.full
def test_a_real_search_here(mncc: Program, one_kernel: Path) -> None:
    answer = mncc("tune", one_kernel, "--trials", "6")
    assert answer.status == 0, answer.err
    assert re.search(r"^6 trials, ", answer.out, re.MULTILINE)
    assert mncc("verify", one_kernel).status == 0


@pytest.mark.full
def test_a_real_search_by_instructions(mncc: Program, one_kernel: Path) -> None:
    answer = mncc("tune", one_kernel, "--trials", "12", "--target", TARGET, "--device", "qemu")
    assert answer.status == 0, answer.err
    assert "instructions with default tiles" in answer.out
    assert mncc("verify", one_kernel, "--target", TARGET, "--device", "qemu").status == 0


@pytest.mark.full
@needs_sshd
def test_a_real_search_over_ssh(
    mncc: Program, one_kernel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_sshd(tmp_path / "server")
    monkeypatch.setenv("PATH", f"{server.folder / 'bin'}:{os.environ['PATH']}")
    try:
        answer = mncc("tune", one_kernel, "--trials", "4", "--device", server.text)
    finally:
        server.close()
    assert answer.status == 0, answer.err
    assert f"on {server.text}, kernels in the whole network" in answer.out
    assert re.search(r"^4 trials, ", answer.out, re.MULTILINE)


@pytest.mark.full
@needs_tracker
def test_a_real_search_on_two_servers_of_a_tracker(mncc: Program, one_kernel: Path, tmp_path: Path) -> None:
    farm = start_farm(tmp_path / "farm", servers=2)
    try:
        answer = mncc("tune", one_kernel, "--trials", "4", "--device", farm.text)
    finally:
        farm.close()
    assert answer.status == 0, answer.err
    assert re.search(r"^4 trials, ", answer.out, re.MULTILINE)


@pytest.mark.full
def test_a_killed_search_goes_on(mncc: Program, one_kernel: Path, places: Path) -> None:
    command = [sys.executable, "-m", "mncc", "tune", str(one_kernel), "--trials", "40"]
    process = subprocess.Popen(command, env={**os.environ}, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and trials(places) < 5:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    there = trials(places)
    answer = mncc("tune", one_kernel, "--trials", str(there + 4))
    assert answer.status == 0, answer.err
    assert f"goes on behind {there} trials" in answer.err and f"{there + 4} trials, {there} of them" in answer.out


def trials(places: Path) -> int:
    """Whole lines in the database."""
    return sum(file.read_bytes().count(b"\n") for file in places.rglob(RECORDS))
