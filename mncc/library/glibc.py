"""The oldest glibc that a shared library runs on, whatever newer one it is linked against.

A linker binds every function to the newest version that the C library of the building machine has. Functions that got
a new version since the floor are therefore asked for by their old one: an undefined symbol `powf@GLIBC_2.2.5`.
"""

from __future__ import annotations

from dataclasses import dataclass

_FUNCTIONS = (
    # moved from libpthread into libc, 2.34 (sigmask: 2.32)
    *("pthread_create", "pthread_join", "pthread_sigmask"),
    # moved from libdl into libc, 2.34
    *("dlopen", "dlsym", "dlclose", "dlerror"),
    # stopped setting the errno of SVID, 2.27 to 2.29
    *("exp", "exp2", "log", "log2", "pow", "expf", "exp2f", "logf", "log2f", "powf"),
    # the same, 2.35 and 2.38
    *("hypot", "hypotf", "fmod", "fmodf"),
)


@dataclass(frozen=True)
class GlibcFloor:
    """`floor`: the oldest glibc; `base`: the version of the functions that have been there from the first port on."""

    floor: str
    base: str

    def renames(self) -> dict[str, str]:
        """Undefined symbols of an object, and what they are to be called instead."""
        return {name: f"{name}@GLIBC_{self.base}" for name in _FUNCTIONS}


_FLOORS = {
    "x86_64": GlibcFloor("2.17", "2.2.5"),  # clock_gettime in libc
    "aarch64": GlibcFloor("2.17", "2.17"),  # the first glibc for it
    "armv7a": GlibcFloor("2.17", "2.4"),
}


def glibc_floor(triple: str) -> GlibcFloor | None:
    """The floor for a target, None where its C library is another one (musl, Android's)."""
    parts = triple.split("-")
    if "android" in triple or "musl" in triple or "linux" not in triple:
        return None
    return _FLOORS.get("armv7a" if parts[0].startswith("armv7") else parts[0])
