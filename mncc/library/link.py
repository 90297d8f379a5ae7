"""The commands that make the archive and the shared library of a network out of its sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mncc.library.glibc import GlibcFloor, glibc_floor
from mncc.library.toolchain import Toolchain, run_tool

_COMPILE = (
    *("-std=c99", "-O2", "-g0", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"),
    # compilers and distributions differ in these: debugging entries hold paths, and others of these options would bring
    # in functions newer than the glibc floor
    *("-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=0", "-fno-stack-protector"),
)
_LINK = (
    *("-Wl,-z,relro,-z,now,-z,noexecstack,-z,defs", "-Wl,--build-id=sha1", "-Wl,--strip-debug"),
    "-Wl,--version-script=exports.map",
)
# Android reads the new hash table from version 6 on, and has pages of 16 KB from version 15 on.
_ANDROID = ("-Wl,--hash-style=both", "-Wl,-z,max-page-size=16384")
_FUNCTIONS = ("model", "run", "pool_create", "pool_destroy")
_PROBE_FUNCTIONS = ("probe", "probe_at", "probe_weights", "probe_select", "probe_target", "probe_launch")


def shared_suffix(triple: str) -> str:
    """What the name of a shared library ends in."""
    return ".dylib" if "apple" in triple else ".so"


@dataclass(frozen=True)
class Build:
    """What makes one library, in the folder `path` that holds its sources under relative names.

    Where the toolchain has an objcopy, all is merged into one object of which only the network's functions stay global;
    else the objects stay apart, and all other names in them are hidden and begin with the network's name.
    """

    name: str
    triple: str
    toolchain: Toolchain
    path: Path
    cflags: tuple[str, ...] = ()
    parts: tuple[str, ...] = ("library.c", "weights.S", "kernels.o")
    """Sources and objects; the first is the runtime."""
    functions: tuple[str, ...] = ()
    """Public ones beside those of every library."""
    libraries_too: tuple[str, ...] = ()
    """What the library links beside libc, libm and pthreads."""

    @property
    def floor(self) -> GlibcFloor | None:
        """The oldest glibc that the shared library will run on; None with another C library."""
        return None if "musl" in self.toolchain.machine else glibc_floor(self.triple)

    def libraries(self, folder: Path, probe: bool) -> None:
        """The archive and the shared library in `folder`, of the same objects; both of the probe where it is wanted."""
        rest = [self._compiled(part) for part in self.parts[1:]]
        functions = (*_FUNCTIONS, *self.functions)
        self._pair(folder, self.name, self._merged(f"lib{self.name}.o", functions, rest))
        if probe:
            functions = (*functions, *_PROBE_FUNCTIONS)
            probed = self._merged(f"lib{self.name}_probe.o", functions, rest, "-DMNCC_PROBE")
            self._pair(folder, f"{self.name}_probe", probed)

    def _compiled(self, source: str, *more: str) -> str:
        """The object of a source; an object as it is."""
        output = str(Path(source).with_suffix(".o"))
        if output != source:
            arguments = [*_COMPILE, *self.toolchain.baseline, *self.cflags, *more, "-c", source, "-o", output]
            self.toolchain.compile("compiling the runtime", arguments, self.path)
        return output

    def _merged(self, output: str, functions: tuple[str, ...], rest: list[str], *more: str) -> list[str]:
        """Runtime, weights and kernels; as the one object `output` where its other names can be made local."""
        objects = [self._compiled(self.parts[0], *more), *rest]
        objcopy = self.toolchain.objcopy
        if objcopy is None:
            return objects
        self.toolchain.compile("merging", [*self.cflags, "-r", "-nostdlib", "-o", output, *objects], self.path)
        keep = [f"--keep-global-symbol={self.name}_{function}" for function in functions]
        run_tool("hiding the kernels", [objcopy, "--strip-debug", *keep, output], self.path)
        return [output]

    def _pair(self, folder: Path, name: str, objects: list[str]) -> None:
        run_tool("making the archive", [*self.toolchain.ar, f"../lib{name}.a", *objects], self.path)
        self._link(objects, folder / f"lib{name}{shared_suffix(self.triple)}")

    def _link(self, objects: list[str], output: Path) -> None:
        """The shared library, its C library functions in the versions of the glibc floor; zig's target says that."""
        if output.suffix == ".dylib":
            link = ["-dynamiclib", "-Wl,-S", f"-Wl,-install_name,@rpath/{output.name}"]
            arguments = [*link, *self.cflags, "-o", f"../{output.name}", *objects]
            return self.toolchain.compile("linking the library", arguments, self.path)
        old: list[str] = []
        objcopy = self.toolchain.objcopy
        if self.floor and objcopy:
            renames = [f"--redefine-sym={name}={version}" for name, version in self.floor.renames().items()]
            run_tool("setting the glibc floor", [objcopy, *renames, *objects, "floor.o"], self.path)
            objects = ["floor.o"]
            # Before glibc 2.34 these were libraries of their own, which a newer linker would not ask for.
            for library in ("libpthread.so.0", *(f"lib{name}.so.2" for name in self.libraries_too)):
                if self.toolchain.library(library):
                    old.append(f"-Wl,--no-as-needed,-l:{library}")
        arguments = ["-shared", *self.cflags, "-o", f"../{output.name}", *objects, *_LINK]
        arguments += _ANDROID if "android" in self.triple else ("-Wl,--hash-style=gnu",)
        arguments += [f"-Wl,-soname,{output.name}", *old, "-Wl,--as-needed", "-pthread", "-lm"]
        more = [f"-l{library}" for library in self.libraries_too]
        self.toolchain.compile("linking the library", [*arguments, *more], self.path)
