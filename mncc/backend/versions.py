"""The versions that mncc was built against, checked before TVM is loaded: a wrong tvm-ffi ends in a core dump."""

from __future__ import annotations

from importlib import metadata

from mncc.language.diagnostic import OutsideError

PINS = {"apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.14.post1"}


def check_versions() -> dict[str, str]:
    """The installed versions of the pinned packages. Raises OutsideError where one differs or is missing."""
    found = {}
    for package, wanted in PINS.items():
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "none"
        if found[package] != wanted:
            raise OutsideError(
                f"{package} {found[package]} is installed, mncc needs {wanted}",
                "pip install " + " ".join(f"{name}=={version}" for name, version in PINS.items()),
            )
    return found
