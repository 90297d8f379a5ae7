"""From a LibrarySpec to the folder that people link: libNAME.so, libNAME.a, NAME.h, NAME.json and package files.

docs/output-format.md describes what is written. The same spec gives the same bytes in any folder: everything is
compiled in the folder itself under relative names, and nothing holds a time or a path.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mncc.library.folder import FORMAT, check_replaceable, replaced_folder
from mncc.library.glibc import GlibcFloor
from mncc.library.header import ABI, cpu_wording, header_text, selftest_bytes
from mncc.library.link import Build, shared_suffix
from mncc.library.names import check_name
from mncc.library.objects import hide_symbols
from mncc.library.spec import Interface, LibrarySpec
from mncc.library.tables import check_spec, tables_text
from mncc.library.template import fill, sources
from mncc.library.toolchain import find_toolchain


@dataclass(frozen=True)
class LibraryFiles:
    """Where a written library lies."""

    directory: Path
    shared: Path
    static: Path
    header: Path
    manifest: Path
    cmake: Path
    pkg_config: Path
    probe: Path | None = None
    probe_archive: Path | None = None
    """The probe as libNAME_probe.a, for programs that run it elsewhere."""


def write_library(
    spec: LibrarySpec,
    directory: Path,
    *,
    cc: str | None = None,
    probe: bool = False,
    cflags: Sequence[str] = (),
) -> LibraryFiles:
    """Writes the library of `spec` to `directory`, which it replaces as a whole or leaves as it was.

    `cc` is the compiler's command (default: the first that find_toolchain finds); `probe` adds libNAME_probe.so and
    libNAME_probe.a, which also run single kernels; `cflags` go to every compiler call (sanitizers).
    Raises DiagnosticError for a name that is no C identifier and a folder that holds somebody's files, OutsideError
    where there is no compiler or no space, ValueError where the spec contradicts itself.
    """
    check_name(spec.name)
    for variant in spec.sets:
        check_spec(variant)
    check_replaceable(directory)
    toolchain = find_toolchain(spec.triple, cc)
    files = files_of(spec.name, spec.triple, directory, probe)
    with replaced_folder(directory) as folder:
        build = folder / "build"
        (folder / files.header.name).write_text(_header(spec), encoding="utf-8")
        parts = ("library.c", "weights.S", *_write_sources(spec, build))
        linked = Build(spec.name, spec.triple, toolchain, build, tuple(cflags), parts)
        linked.libraries(folder, probe)
        words = package_words(spec.name, spec.triple, spec.model_hash)
        (folder / files.cmake.name).write_text(fill("Config.cmake.in", words), encoding="utf-8")
        (folder / files.pkg_config.name).write_text(fill("package.pc.in", words), encoding="utf-8")
        shutil.rmtree(build)
        _write_manifest(spec, folder, toolchain.version, linked.floor)
    return files


def write_objects(spec: LibrarySpec, directory: Path) -> tuple[Path, ...]:
    """Writes what another toolchain finishes: kernels' objects, C runtime, weights, header, CMakeLists.txt, manifest.

    Needs no compiler. Returns the files; raises as write_library does.
    """
    check_name(spec.name)
    for variant in spec.sets:
        check_spec(variant)
    check_replaceable(directory)
    with replaced_folder(directory) as folder:
        source = folder / "src"
        kernels = _write_sources(spec, source)
        (folder / f"{spec.name}.h").write_text(_header(spec), encoding="utf-8")
        for probe in source.glob("probe.*"):
            probe.unlink()
        words = package_words(spec.name, spec.triple, spec.model_hash)
        words |= {"KERNELS": " ".join(kernels), "TARGET": ", ".join(of.target or of.triple for of in spec.sets)}
        (folder / "CMakeLists.txt").write_text(fill("CMakeLists.txt.in", words), encoding="utf-8")
        (source / f"{spec.name}Config.cmake").write_text(fill("Config.cmake.in", words), encoding="utf-8")
        (source / f"{spec.name}.pc").write_text(fill("package.pc.in", words), encoding="utf-8")
        _write_manifest(spec, folder, None, None)
        found = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return tuple(directory / path for path in found)


def _write_manifest(spec: LibrarySpec, folder: Path, compiler: str | None, floor: GlibcFloor | None) -> None:
    """NAME.json, the last file of a folder: it lists the others."""
    path = folder / f"{spec.name}.json"
    names = sorted([*(path.name for path in folder.iterdir()), path.name])
    text = json.dumps(manifest_content(spec, compiler, floor, names), indent=1, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def manifest_content(
    spec: LibrarySpec, compiler: str | None, floor: GlibcFloor | None, files: list[str]
) -> dict[str, Any]:
    """NAME.json: the interface, sizes, hashes and kernels, joined with what `spec.manifest` adds to them.

    Kernels of `spec.manifest`, in the order of `spec.kernels`, add their entries to those of the library.
    """
    more = {key: value for key, value in spec.manifest.items() if key != "kernels"}
    return {
        **library_facts(spec),
        "triple": spec.triple,
        "cpu_features": list(spec.cpu_features),
        "glibc_floor": floor.floor if floor else None,
        "compiler": compiler,
        "inputs": [interface_facts(tensor) for tensor in spec.inputs],
        "outputs": [interface_facts(tensor) for tensor in spec.outputs],
        "workspace_bytes": spec.tensor_bytes + spec.scratch_bytes,
        "tensor_bytes": spec.tensor_bytes,
        "scratch_bytes": spec.scratch_bytes,
        "selftest_bytes": selftest_bytes(spec),
        "files": files,
        **more,
        "kernels": _kernel_facts(spec),
        **({"variants": [_variant_facts(variant) for variant in spec.variants]} if spec.variants else {}),
    }


def _variant_facts(spec: LibrarySpec) -> dict[str, Any]:
    """What a library for several targets has of each."""
    return {
        "target": spec.manifest.get("target", {"name": spec.target}),
        "cpu_features": list(spec.cpu_features),
        "parts": [f"{part:#x}" for part in spec.parts],
        "workspace_bytes": spec.tensor_bytes + spec.scratch_bytes,
        "tensor_bytes": spec.tensor_bytes,
        "scratch_bytes": spec.scratch_bytes,
        "kernels": _kernel_facts(spec),
    }


def _kernel_facts(spec: LibrarySpec) -> list[dict[str, Any]]:
    details = spec.manifest.get("kernels", [{}] * len(spec.kernels))
    if len(details) != len(spec.kernels):
        raise ValueError(f"the manifest describes {len(details)} kernels, the library has {len(spec.kernels)}")
    return [
        {
            "name": kernel.name,
            "symbol": kernel.symbol,
            "items": kernel.items,
            "phases": [vars(phase) for phase in kernel.phases],
            "images": kernel.images,
            "weights_offset": kernel.weights_offset,
            "tensors": [vars(slot) for slot in kernel.tensors],
            **detail,
        }
        for kernel, detail in zip(spec.kernels, details, strict=True)
    ]


def library_facts(spec: Interface) -> dict[str, Any]:
    """The beginning of the manifest of any library."""
    return {
        "format": FORMAT,
        "format_version": 1,
        "name": spec.name,
        "abi": ABI,
        "hash": spec.model_hash,
        "weights_sha256": hashlib.sha256(weight_bytes(spec.weights)).hexdigest(),
        "weights_bytes": spec.weights.nbytes,
    }


def interface_facts(tensor: Any) -> dict[str, Any]:
    """An input or output as the manifest has it."""
    return {key: value for key, value in vars(tensor).items() if value not in ((), "")}


def weight_bytes(weights: np.ndarray) -> bytes:
    """The packed weights as they lie in the library."""
    return np.ascontiguousarray(weights).tobytes()


def package_words(
    name: str, triple: str, model_hash: str, cmake_libraries: str = "", pc_libraries: str = ""
) -> dict[str, str]:
    """What the templates of the CMake and pkg-config files are filled with."""
    shared = f"lib{name}{shared_suffix(triple)}"
    return {
        "NAME": name,
        "ABI": str(ABI),
        "HASH": model_hash,
        "SHARED": shared,
        "SONAME": f"@rpath/{shared}" if shared.endswith(".dylib") else shared,
        "CMAKE": cmake_libraries,
        "PC": pc_libraries,
    }


def files_of(name: str, triple: str, directory: Path, probe: bool) -> LibraryFiles:
    """Where the files of a library will lie."""
    suffix = shared_suffix(triple)
    return LibraryFiles(
        directory=directory,
        shared=directory / f"lib{name}{suffix}",
        static=directory / f"lib{name}.a",
        header=directory / f"{name}.h",
        manifest=directory / f"{name}.json",
        cmake=directory / f"{name}Config.cmake",
        pkg_config=directory / f"{name}.pc",
        probe=directory / f"lib{name}_probe{suffix}" if probe else None,
        probe_archive=directory / f"lib{name}_probe.a" if probe else None,
    )


def _header(spec: LibrarySpec) -> str:
    return header_text(spec, cpu_wording(len(spec.sets)))


def _write_sources(spec: LibrarySpec, build: Path) -> tuple[str, ...]:
    """Everything that the library is made of but the header, which lies in the folder above: there, no name that a
    network may have is one of the runtime's. Returns the names of the kernels' objects."""
    build.mkdir()
    texts = sources(spec.name) | {
        "tables.h": tables_text(spec),
        "exports.map": f"{{ global: {spec.name}_*; local: *; }};\n",
    }
    for name, text in texts.items():
        (build / name).write_text(text, encoding="utf-8")
    (build / "weights.bin").write_bytes(weight_bytes(spec.weights))
    objects = {f"kernels_{of.target}.o" if spec.variants else "kernels.o": of.kernel_object for of in spec.sets}
    for name, content in objects.items():
        (build / name).write_bytes(hide_symbols(content))
    return tuple(objects)
