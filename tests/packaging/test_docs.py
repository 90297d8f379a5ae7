"""What the documents show is what the program says."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer

from mncc.cli import app
from mncc.kernels.chain_knobs import Cut
from mncc.kernels.space import decisions_of, knobs
from mncc.kernels.target import load_target
from mncc.kernels.tiles import ConvTile
from mncc.plan import make_plan
from mncc.verbs.check import check
from mncc.verbs.emit import emit
from mncc.verbs.job import load_network

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
TUNING = ROOT / "docs" / "tuning.md"
EMITTED = re.compile(r"<!-- mncc emit (?P<command>[^,>]*?)(?:, first (?P<lines>\d+) lines)? -->\n```\n.*?```\n", re.S)
KNOBS = re.compile(r"(<!-- knobs of (\S+) for (\S+) -->\n)(?:\|.*\n)*")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def fresh(match: re.Match[str]) -> str:
    """The same place of the document, with what mncc emits now."""
    file, *options = shlex.split(match["command"])
    values = dict(zip(options[::2], options[1::2], strict=True))
    text = emit(ROOT / file, values["--stage"], target=values.get("--target", "native"))
    text = text.replace(str(ROOT / file), file)
    lines = text.rstrip("\n").splitlines()
    if match["lines"] and len(lines) > int(match["lines"]):
        lines = [*lines[: int(match["lines"])], "..."]
    head = match[0][: match[0].index("```")]
    return head + "```\n" + "".join(f"{line}\n" for line in lines) + "```\n"


def test_the_printed_stages(request: pytest.FixtureRequest) -> None:
    written = ARCHITECTURE.read_text(encoding="utf-8")
    assert len(EMITTED.findall(written)) >= 4
    now = EMITTED.sub(fresh, written)
    if request.config.getoption("--update-golden"):
        ARCHITECTURE.write_text(now, encoding="utf-8")
    else:
        assert now == written, "run this test with --update-golden"


def knob_table(match: re.Match[str]) -> str:
    """Every knob of a network's kernels: how many choices it has, the default's, and the first and last one."""
    target = load_target(match[3])
    lines = ["| kernel | knob | choices | default | from | to |", "|---|---|---|---|---|---|"]
    for kernel in make_plan(load_network(ROOT / match[2], {}), target).kernels:
        default = decisions_of(kernel.spec, target, kernel.tiles)
        assert default is not None
        for knob, index in zip(knobs(kernel.spec, target), default, strict=True):
            shown = (written(knob.choices[number]) for number in (index, 0, -1))
            cells = (kernel.name, f"`{knob.name}`", str(len(knob.choices)), *shown)
            lines.append(f"| {' | '.join(cells)} |")
    return match[1] + "".join(f"{line}\n" for line in lines)


def written(choice: object) -> str:
    if isinstance(choice, ConvTile):
        return f"{choice.rows}x{choice.cols}x{choice.channels}/{choice.lanes}"
    return f"{choice.strip}, {choice.band}" if isinstance(choice, Cut) else str(choice)


def test_the_knobs(request: pytest.FixtureRequest) -> None:
    text = TUNING.read_text(encoding="utf-8")
    assert len(KNOBS.findall(text)) == 1
    now = KNOBS.sub(knob_table, text)
    if request.config.getoption("--update-golden"):
        TUNING.write_text(now, encoding="utf-8")
    else:
        assert now == text, "run this test with --update-golden"


def test_the_networks_in_the_documents_are_the_files(tmp_path: Path) -> None:
    listed = 0
    for document in DOCUMENTS:
        written = EMITTED.sub("", document.read_text(encoding="utf-8"))
        for text, name in re.findall(r"```\n(network (\w+).*?)```", written, re.S):
            files = [*(ROOT / "examples").glob(f"{name}.mn"), *(ROOT / "docs").glob(f"{name}.mn")]
            assert files, f"{document.name} shows {name}, which is in no file"
            shown = tmp_path / f"{name}.mn"
            shown.write_text(text, encoding="utf-8")
            assert load_network(shown, {}) == load_network(files[0], {})
            listed += 1
    assert listed >= 2


def test_the_commands_in_the_documents_exist() -> None:
    known = typer.main.get_group(app).commands
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for line in re.findall(r"^\$ mncc (.*)$", text, re.M):
            command, *words = shlex.split(line)
            assert command in known, f"{document.name}: mncc {line}"
            options = {option for parameter in known[command].params for option in parameter.opts}
            assert {word for word in words if word.startswith("-")} <= options, f"{document.name}: mncc {line}"
        for target in re.findall(r"`make ([a-z-]+)`", text):
            assert target in targets, f"{document.name}: make {target}"


def test_the_readme_prints_what_check_prints() -> None:
    shown = re.findall(r"^\$ mncc check (\S+)\n(.+)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
    assert shown
    for file, answer in shown:
        assert check(ROOT / file) == answer


def test_the_links_in_the_documents_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_no_document_or_source_names_a_place_of_one_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    places = re.compile(rf"(?<![\w.]){re.escape(str(ROOT.parent))}/")
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".mn", ".c", ".h", ".cpp", ".txt", "") and path.is_file():
            assert not places.search(path.read_text(encoding="utf-8", errors="replace")), name
