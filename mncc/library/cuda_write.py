"""From a CudaSpec to the folder that people link: the same files as a CPU's library, with kernels for GPUs inside."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mncc.library.cuda_spec import CudaSpec
from mncc.library.cuda_tables import architectures_text, check_cuda_spec, cuda_tables_text, driver_for
from mncc.library.folder import check_replaceable, replaced_folder
from mncc.library.glibc import GlibcFloor
from mncc.library.header import Wording, header_text, parameter_list, selftest_bytes
from mncc.library.link import Build
from mncc.library.names import check_name
from mncc.library.nvcc import Nvcc, compile_fatbin, find_nvcc, ptx_of
from mncc.library.template import fill, sources
from mncc.library.toolchain import find_toolchain
from mncc.library.write import LibraryFiles, files_of, interface_facts, library_facts, package_words, weight_bytes

FUNCTIONS = ("device_open", "device_close", "device_message", "run_device")
"""Of a library for GPUs, beside those of every library."""


def write_cuda_library(
    spec: CudaSpec,
    directory: Path,
    *,
    cc: str | None = None,
    nvcc: Nvcc | None = None,
    fatbin: bytes | None = None,
    probe: bool = False,
    cflags: Sequence[str] = (),
) -> LibraryFiles:
    """Writes the library of `spec` to `directory`, which it replaces as a whole or leaves as it was.

    `cc`, `probe` and `cflags` as in write_library. `nvcc` compiles the kernels (default: the one that find_nvcc finds),
    unless `fatbin` holds what it made of them before.
    Raises DiagnosticError for a name that is no C identifier and a folder that holds somebody's files, OutsideError
    where there is no compiler, no nvcc or no space, ValueError where the spec contradicts itself.
    """
    check_name(spec.name)
    check_cuda_spec(spec)
    check_replaceable(directory)
    toolchain = find_toolchain(spec.triple, cc)
    nvcc = nvcc or find_nvcc()
    fatbin = fatbin or compile_fatbin(spec.source, spec.architectures, nvcc)
    files = files_of(spec.name, spec.triple, directory, probe)
    header = header_text(spec, _wording(spec, nvcc))
    with replaced_folder(directory) as folder:
        build = folder / "build"
        (folder / files.header.name).write_text(header, encoding="utf-8")
        build.mkdir()
        texts = sources(spec.name, cuda=True) | {
            "tables.h": cuda_tables_text(spec, nvcc.version),
            "exports.map": f"{{ global: {spec.name}_*; local: *; }};\n",
        }
        for name, text in texts.items():
            (build / name).write_text(text, encoding="utf-8")
        (build / "weights.bin").write_bytes(weight_bytes(spec.weights))
        (build / "kernels.fatbin").write_bytes(fatbin)
        parts = ("cuda_library.c", "weights.S", "fatbin.S")
        linked = Build(spec.name, spec.triple, toolchain, build, tuple(cflags), parts, FUNCTIONS, ("dl",))
        linked.libraries(folder, probe)
        words = package_words(spec.name, spec.triple, spec.model_hash, ";${CMAKE_DL_LIBS}", " -ldl")
        (folder / files.cmake.name).write_text(fill("Config.cmake.in", words), encoding="utf-8")
        (folder / files.pkg_config.name).write_text(fill("package.pc.in", words), encoding="utf-8")
        shutil.rmtree(build)
        names = sorted([path.name for path in folder.iterdir()] + [files.manifest.name])
        manifest = cuda_manifest(spec, toolchain.version, linked.floor, nvcc, fatbin, names)
        text = json.dumps(manifest, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        (folder / files.manifest.name).write_text(text, encoding="utf-8")
    return files


def _wording(spec: CudaSpec, nvcc: Nvcc) -> Wording:
    words = {
        "NAME": spec.name,
        "PARAMETERS": parameter_list(spec),
        "ARCHITECTURES": architectures_text(spec),
        "DRIVER": driver_for(nvcc.version[0]),
    }
    how = (
        " * The workspace is not used and may be NULL. exec->device is what device_open returned; of the other fields\n"
        " * `message` and `on_kernel` count. */"
    )
    return Wording(fill("about_cuda.in", words).rstrip("\n"), how, fill("cuda_functions.h.in", words))


def cuda_manifest(
    spec: CudaSpec, compiler: str, floor: GlibcFloor | None, nvcc: Nvcc, fatbin: bytes, files: list[str]
) -> dict[str, Any]:
    """NAME.json: as a CPU's library has it, with launches for kernels.

    Kernels of `spec.manifest`, in the order of `spec.launches`, add their entries to those of the library.
    """
    more = dict(spec.manifest)
    details = more.pop("kernels", [{}] * len(spec.launches))
    if len(details) != len(spec.launches):
        raise ValueError(f"the manifest describes {len(details)} kernels of {len(spec.launches)} launches")
    return {
        **library_facts(spec),
        "triple": spec.triple,
        "architectures": [*spec.architectures, *ptx_of(spec.architectures)],
        "fatbin_sha256": hashlib.sha256(fatbin).hexdigest(),
        "cuda": ".".join(map(str, nvcc.version)),
        "driver_floor": driver_for(nvcc.version[0]),
        "glibc_floor": floor.floor if floor else None,
        "compiler": compiler,
        "inputs": [interface_facts(tensor) for tensor in spec.inputs],
        "outputs": [interface_facts(tensor) for tensor in spec.outputs],
        "workspace_bytes": 0,
        "device_bytes": spec.workspace_bytes,
        "selftest_bytes": selftest_bytes(spec),
        "files": files,
        **more,
        "kernels": [
            {
                "name": launch.name,
                "symbol": launch.symbol,
                "grid": launch.grid,
                "block": launch.block,
                "shared_bytes": launch.shared_bytes,
                "arguments": [vars(argument) for argument in launch.arguments],
                **detail,
            }
            for launch, detail in zip(spec.launches, details, strict=True)
        ],
    }
