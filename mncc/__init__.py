"""mncc: a compiler from a paper's network table to a C library without dependencies.

    import mncc
    net = mncc.build("mobilenet_v2.mn", weights="mobilenet_v2.pth", width=1.0)
    scores = net(picture)

Everything is imported when it is first used; `import mncc` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mncc.language.diagnostic import DiagnosticError, OutsideError
    from mncc.verbs.api import bench, build, check, cost, emit, tune, verify

__version__ = "0.1.0"
_ERRORS = ("DiagnosticError", "OutsideError")
__all__ = [
    "DiagnosticError",
    "OutsideError",
    "__version__",
    "bench",
    "build",
    "check",
    "cost",
    "emit",
    "tune",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'mncc' has no attribute {name!r}")
    from mncc.language import diagnostic
    from mncc.verbs import api

    return getattr(diagnostic if name in _ERRORS else api, name)


def __dir__() -> list[str]:
    return sorted(__all__)
