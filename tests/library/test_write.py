"""Where a library is written, and everything that can be wrong about it."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mncc.kernels.tiles import one_phase
from mncc.language.diagnostic import DiagnosticError, OutsideError
from mncc.library.names import check_name
from mncc.library.spec import InterfaceTensor, LibrarySpec, Slot
from mncc.library.write import write_library
from tests.library.toy import classifier_spec, toy_spec


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def test_foreign_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    (folder / "notes.json").write_text('{"format": "other"}')
    before = contents(folder)
    with pytest.raises(DiagnosticError, match=r"holds notes\.json, which mncc did not write"):
        write_library(toy_spec(), folder)
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_folder_with_a_strangers_file_beside_ours_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_library(toy_spec(), folder)
    (folder / "notes.txt").write_text("mine")
    before = contents(folder)
    with pytest.raises(DiagnosticError, match=r"notes\.txt"):
        write_library(toy_spec(seed=1), folder)
    assert contents(folder) == before


def test_our_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    write_library(toy_spec(), folder, probe=True)
    write_library(classifier_spec("other"), folder)
    left = ["libother.a", "libother.so", "other.h", "other.json", "other.pc", "otherConfig.cmake"]
    assert sorted(contents(folder)) == left
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


def test_empty_folder_and_link_are_written_to(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    files = write_library(toy_spec(), tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and files.shared.exists() and (real / "libtoy.so").exists()


def test_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(DiagnosticError, match="is not a folder"):
        write_library(toy_spec(), tmp_path / "out")
    with pytest.raises(OutsideError, match="cannot write the folder"):
        write_library(toy_spec(), tmp_path / "out" / "below")
    assert (tmp_path / "out").read_text() == "a file"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc to try to write to")
def test_read_only_place(tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match="cannot write the folder /proc/mncc"):
        write_library(toy_spec(), Path("/proc/mncc"))


@pytest.mark.usefixtures("without_zig")
@pytest.mark.parametrize("command", ["no-such-compiler", "", "   "])
def test_no_compiler(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(OutsideError, match="no C compiler for") as caught:
        write_library(toy_spec(), tmp_path / "out", cc=command)
    assert "install one" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_compiler_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "gcc -DSOMETHING='a b'")
    assert write_library(toy_spec(), tmp_path / "out").shared.exists()
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(OutsideError, match="looked for no-such-compiler"):
        write_library(toy_spec(), tmp_path / "other")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 3", r"failed \(status 3\)"),
        ("echo 'ld: final link failed: No space left on device' >&2; exit 1", "free some space"),
    ],
)
def test_failing_compiler_leaves_nothing(script: str, message: str, tmp_path: Path) -> None:
    """A compiler that answers about itself, then fails."""
    compiler = tmp_path / "cc"
    compiler.write_text(f'#!/bin/sh\ncase "$1" in --version|-dumpmachine|-print-*) exec gcc "$@";; esac\n{script}\n')
    compiler.chmod(0o755)
    with pytest.raises(OutsideError, match=message):
        write_library(toy_spec(), tmp_path / "new" / "out", cc=str(compiler))
    assert [path.name for path in tmp_path.iterdir()] == ["cc"]


def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutsideError, match="No space left on device"):
        write_library(toy_spec(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_library(toy_spec(), tmp_path / "out")
    before = contents(tmp_path / "out")

    def interrupt(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_library(toy_spec(seed=1), tmp_path / "out")
    assert contents(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(16, "Device or resource busy")])
def test_failing_exchange_brings_the_old_folder_back(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_library(toy_spec(), tmp_path / "out")
    before = contents(tmp_path / "out")
    rename = Path.rename

    def fails_once(path: Path, target: Path) -> Path:
        if path.suffix == ".mncc" and target.name == "out":
            raise error
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails_once)
    with pytest.raises((KeyboardInterrupt, OutsideError)):
        write_library(toy_spec(seed=1), tmp_path / "out")
    assert contents(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["", "2net", "mobile-net", "a b", "int", "netz\u00e4", "x/../y", "mncc", "mncc_exec"])
def test_name_must_be_a_c_identifier(name: str, tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError, match=r"is not a C identifier|is a word of C|all libraries share") as caught:
        write_library(toy_spec(name), tmp_path / "out")
    suggested = re.search(r"`--name (\w+)` works", str(caught.value))
    assert suggested is not None
    check_name(suggested[1])
    assert list(tmp_path.iterdir()) == []


def test_tensors_must_not_share_macros(tmp_path: Path) -> None:
    spec = toy_spec()
    inputs = (spec.inputs[0], InterfaceTensor("scores", spec.inputs[1].shape))
    with pytest.raises(DiagnosticError, match="TOY_SCORES_SHAPE"):
        write_library(dataclasses.replace(spec, inputs=inputs), tmp_path / "out")


def test_odd_texts_reach_the_library(tmp_path: Path) -> None:
    """Names that are C keywords, quotes, backslashes and trigraphs break nothing."""
    spec = toy_spec()
    inputs = (InterfaceTensor('int "x"', spec.inputs[0].shape), InterfaceTensor("a\\b??/", spec.inputs[1].shape))
    kernels = (dataclasses.replace(spec.kernels[0], name='conv "1" \u00d7 1\\'), *spec.kernels[1:])
    files = write_library(dataclasses.replace(spec, inputs=inputs, kernels=kernels), tmp_path / "out")
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Werror", "-fsyntax-only", str(files.header)], check=True)


def broken(spec: LibrarySpec) -> dict[str, LibrarySpec]:
    first = spec.kernels[0]
    return {
        "multiples of 64": dataclasses.replace(spec, scratch_bytes=65),
        "needs a kernel": dataclasses.replace(spec, kernels=()),
        "images of 0 phases": dataclasses.replace(spec, kernels=(dataclasses.replace(first, phases=()),)),
        "images of 3 phases": dataclasses.replace(spec, kernels=(dataclasses.replace(first, phases=one_phase(2) * 3),)),
        "items=0": dataclasses.replace(spec, kernels=(dataclasses.replace(first, phases=one_phase(0)),)),
        "outside of its buffer": dataclasses.replace(
            spec, kernels=(dataclasses.replace(first, tensors=(Slot("input", 0, 9999, 0),)),)
        ),
        "has 17 tensors": dataclasses.replace(
            spec, kernels=(dataclasses.replace(first, tensors=first.tensors[:1] * 17),)
        ),
        "not a C symbol": dataclasses.replace(spec, kernels=(dataclasses.replace(first, symbol="a-b"),)),
        "weights at 64 of 4": dataclasses.replace(spec, weights=np.zeros(1, np.float32)),
        "not a finite value": dataclasses.replace(
            spec, goldens=(dataclasses.replace(spec.goldens[0], tolerance=float("nan")),)
        ),
        "no row in": dataclasses.replace(spec, cpu_features=("avx1024",)),
    }


@pytest.mark.parametrize("problem", list(broken(toy_spec())))
def test_contradicting_spec(problem: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=problem):
        write_library(broken(toy_spec())[problem], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
