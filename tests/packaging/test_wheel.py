"""A built wheel works without the checkout: grammar/, targets/ and the C sources travel in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "*.pyc")


def call(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed, run without this checkout on any path."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy (`source` beside it), for setuptools leaves its build folder behind."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=LEFT_OUT)
    tuned = folder / "source" / "targets" / "tuned"
    tuned.mkdir(exist_ok=True)
    (tuned / "any-target.json").write_text("{}", encoding="utf-8")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "-w", str(folder)]
    call(sys.executable, "-m", "pip", "wheel", *options, folder / "source", cwd=folder)
    return next(folder.glob("mncc-*.whl"))


def test_what_travels(wheel: Path) -> None:
    source = wheel.parent / "source"
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"mncc/_data/grammar/{path.name}" for path in (source / "grammar").iterdir()}
    targets = source / "targets"
    expected |= {f"mncc/_data/targets/{path.name}" for path in targets.glob("*.toml")}
    expected |= {f"mncc/_data/targets/tuned/{path.name}" for path in (targets / "tuned").iterdir()}
    expected |= {str(path.relative_to(source)) for path in (source / "mncc").rglob("*") if path.is_file()}
    travelled = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert travelled == expected
    assert any(name.endswith("licenses/LICENSE") for name in names)


def use(environment: Path, folder: Path) -> None:
    """Runs the installed program from a folder that has nothing but a network file."""
    folder.mkdir()
    shutil.copy(ROOT / "docs" / "tiny.mn", folder / "net.mn")
    mncc = environment / "bin" / "mncc"
    where = call(environment / "bin" / "python", "-c", "import mncc; print(mncc.__file__)", cwd=folder)
    assert Path(where.strip()).is_relative_to(environment)
    assert call(mncc, "check", "net.mn", cwd=folder).startswith("tiny: ")
    assert json.loads(call(mncc, "cost", "net.mn", "--json", cwd=folder))["macs"] > 0
    assert "x86-64-v3" in call(mncc, "targets", cwd=folder)
    call(mncc, "build", "net.mn", "-o", "out", cwd=folder)
    assert (folder / "out" / "libtiny.so").is_file()


def test_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    """The dependencies are those of this environment, seen through a .pth file; mncc itself is only the wheel."""
    environment = tmp_path / "environment"
    call(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    python = environment / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    call(*pip, "install", "-q", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    packages = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    use(environment, tmp_path / "elsewhere")


@pytest.mark.full
def test_wheel_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """With the dependencies that its metadata names, from the package registry."""
    environment = tmp_path / "environment"
    call(sys.executable, "-m", "venv", environment, cwd=tmp_path)
    call(environment / "bin" / "python", "-m", "pip", "install", "-q", wheel, cwd=tmp_path)
    use(environment, tmp_path / "elsewhere")
