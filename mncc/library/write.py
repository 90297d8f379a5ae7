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
from mncc.library.glibc import glibc_floor
from mncc.library.header import ABI, header_text, selftest_bytes
from mncc.library.names import check_name
from mncc.library.spec import LibrarySpec
from mncc.library.tables import check_spec, tables_text
from mncc.library.template import fill, sources
from mncc.library.toolchain import Toolchain, find_toolchain, run_tool

_BASELINE = {"x86_64": ("-march=x86-64",), "aarch64": ("-march=armv8-a",)}
"""The oldest processor of an architecture, for the runtime; some distributions' compilers assume a newer one."""
_COMPILE = (
    *("-std=c99", "-O2", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"),
    # distributions differ in these, and they would bring in functions newer than the glibc floor
    *("-U_FORTIFY_SOURCE", "-fno-stack-protector"),
)
_LINK = ("-Wl,-z,relro,-z,now,-z,noexecstack,-z,defs", "-Wl,--hash-style=gnu", "-Wl,--build-id=sha1")


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

    `cc` is the compiler's command (default: the environment's CC, else cc, gcc, clang, or a cross compiler); `probe`
    adds libNAME_probe.so and libNAME_probe.a, which also run single kernels; `cflags` go to every compiler call
    (sanitizers).
    Raises DiagnosticError for a name that is no C identifier and a folder that holds somebody's files, OutsideError
    where there is no compiler or no space, ValueError where the spec contradicts itself.
    """
    check_name(spec.name)
    check_spec(spec)
    check_replaceable(directory)
    toolchain = find_toolchain(spec.triple, cc)
    files = files_of(spec.name, directory, probe)
    with replaced_folder(directory) as folder:
        build = folder / "build"
        _write_sources(spec, build)
        Build(spec.name, spec.triple, toolchain, build, tuple(cflags)).libraries(folder, probe)
        (folder / files.header.name).write_text(header_text(spec), encoding="utf-8")
        words = {"NAME": spec.name, "ABI": str(ABI), "HASH": spec.model_hash, "CMAKE": "", "PC": ""}
        (folder / files.cmake.name).write_text(fill("Config.cmake.in", words), encoding="utf-8")
        (folder / files.pkg_config.name).write_text(fill("package.pc.in", words), encoding="utf-8")
        shutil.rmtree(build)
        names = sorted([path.name for path in folder.iterdir()] + [files.manifest.name])
        manifest = manifest_content(spec, toolchain.version, names)
        text = json.dumps(manifest, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        (folder / files.manifest.name).write_text(text, encoding="utf-8")
    return files


def manifest_content(spec: LibrarySpec, compiler: str, files: list[str]) -> dict[str, Any]:
    """NAME.json: the interface, sizes, hashes and kernels, joined with what `spec.manifest` adds to them.

    Kernels of `spec.manifest`, in the order of `spec.kernels`, add their entries to those of the library.
    """
    more = dict(spec.manifest)
    details = more.pop("kernels", [{}] * len(spec.kernels))
    if len(details) != len(spec.kernels):
        raise ValueError(f"the manifest describes {len(details)} kernels, the library has {len(spec.kernels)}")
    floor = glibc_floor(spec.triple)
    return {
        "format": FORMAT,
        "format_version": 1,
        "name": spec.name,
        "abi": ABI,
        "hash": spec.model_hash,
        "weights_sha256": hashlib.sha256(weight_bytes(spec.weights)).hexdigest(),
        "weights_bytes": spec.weights.nbytes,
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
        "kernels": [
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
        ],
    }


def interface_facts(tensor: Any) -> dict[str, Any]:
    """An input or output as the manifest has it."""
    return {key: value for key, value in vars(tensor).items() if value not in ((), "")}


def weight_bytes(weights: np.ndarray) -> bytes:
    """The packed weights as they lie in the library."""
    return np.ascontiguousarray(weights).tobytes()


def files_of(name: str, directory: Path, probe: bool) -> LibraryFiles:
    """Where the files of a library will lie."""
    return LibraryFiles(
        directory=directory,
        shared=directory / f"lib{name}.so",
        static=directory / f"lib{name}.a",
        header=directory / f"{name}.h",
        manifest=directory / f"{name}.json",
        cmake=directory / f"{name}Config.cmake",
        pkg_config=directory / f"{name}.pc",
        probe=directory / f"lib{name}_probe.so" if probe else None,
        probe_archive=directory / f"lib{name}_probe.a" if probe else None,
    )


def _write_sources(spec: LibrarySpec, build: Path) -> None:
    build.mkdir()
    texts = sources() | {
        f"{spec.name}.h": header_text(spec),
        "tables.h": tables_text(spec),
        "exports.map": f"{{ global: {spec.name}_*; local: *; }};\n",
    }
    for name, text in texts.items():
        (build / name).write_text(text, encoding="utf-8")
    (build / "weights.bin").write_bytes(weight_bytes(spec.weights))
    (build / "kernels.o").write_bytes(spec.kernel_object)


@dataclass(frozen=True)
class Build:
    """The commands that make one library, run in the folder `path` that holds its sources."""

    name: str
    triple: str
    toolchain: Toolchain
    path: Path
    cflags: tuple[str, ...]
    parts: tuple[str, ...] = ("library.c", "weights.S", "kernels.o")
    functions: tuple[str, ...] = ()
    """Public ones beside those of every library."""
    libraries_too: tuple[str, ...] = ()
    """What the library links beside libc, libm and pthreads."""

    def libraries(self, folder: Path, probe: bool) -> None:
        """The archive and the shared library in `folder`, made from one object."""
        name = self.name
        public = [f"{name}_{function}" for function in ("model", "run", "pool_create", "pool_destroy", *self.functions)]
        self._merge(f"{name}.o", public)
        self._archive(f"{name}.o", f"lib{name}.a")
        self._link(f"{name}.o", folder / f"lib{name}.so")
        if probe:
            public += [f"{name}_{function}" for function in ("probe", "probe_at", "probe_weights")]
            self._merge("probe.o", public, "-DMNCC_PROBE")
            self._link("probe.o", folder / f"lib{name}_probe.so")
            self._archive("probe.o", f"lib{name}_probe.a")

    def _archive(self, merged: str, output: str) -> None:
        run_tool("making the archive", [self.toolchain.tool("ar"), "rcsD", f"../{output}", merged], self.path)

    def _merge(self, output: str, public: list[str], *more: str) -> None:
        """Runtime, weights and kernels as one relocatable object, of which only `public` can be seen."""
        baseline = _BASELINE.get(self.triple.split("-")[0], ())
        arguments = [*_COMPILE, *baseline, *self.cflags, *more, "-r", "-nostdlib", "-o", output]
        self.toolchain.compile("compiling the runtime", [*arguments, *self.parts], self.path)
        keep = [f"--keep-global-symbol={name}" for name in public]
        run_tool("hiding the kernels", [self.toolchain.tool("objcopy"), "--strip-debug", *keep, output], self.path)

    def _link(self, merged: str, output: Path) -> None:
        """The shared library, its C library functions in the versions of the glibc floor."""
        old: list[str] = []
        floor = glibc_floor(self.triple)
        if floor:
            objcopy = self.toolchain.tool("objcopy")
            renames = [f"--redefine-sym={name}={version}" for name, version in floor.renames().items()]
            run_tool("setting the glibc floor", [objcopy, *renames, merged, "floor.o"], self.path)
            merged = "floor.o"
            # Before glibc 2.34 these were libraries of their own, which a newer linker would not ask for.
            for library in ("libpthread.so.0", *(f"lib{name}.so.2" for name in self.libraries_too)):
                if self.toolchain.library(library):
                    old.append(f"-Wl,--no-as-needed,-l:{library}")
        arguments = ["-shared", *self.cflags, "-o", f"../{output.name}", merged, *_LINK]
        arguments += [f"-Wl,-soname,{output.name}", "-Wl,--version-script=exports.map"]
        arguments += [*old, "-Wl,--as-needed", "-pthread", "-lm", *(f"-l{library}" for library in self.libraries_too)]
        self.toolchain.compile("linking the library", arguments, self.path)
