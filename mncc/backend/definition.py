"""What decides the code of a tuned kernel, as a hash: tiles that were measured with other code prove nothing.

The exact answer is the object that the backend makes of a kernel, but a plan is made without TVM. So the hash is over
the syntax of the sources that generate it, and the pinned versions that are among them: comments, docstrings and line
breaks change nothing, any other edit does, even one that leaves the code as it was. For these a tuned table keeps a
hash of every kernel's object too (`code_of`), by which `python -m bench.tuned` finds out that it still holds.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from mncc.backend.cpu import KernelFunction, compile_functions
from mncc.kernels.chain import Chain
from mncc.kernels.family import family_of
from mncc.kernels.target import Target

SOURCES = (
    "backend/cpu.py",
    "backend/lower.py",
    "backend/versions.py",
    "kernels/ahead.py",
    "kernels/chain.py",
    "kernels/half.py",
    "kernels/strassen.py",
    "kernels/tiles.py",
    "kernels/toom.py",
    "kernels/winograd.py",
    "network/ops/_compute.py",
    "network/ops/activation.py",
    "schedules/*.py",
)
"""Files of the package."""
PACKAGE = Path(__file__).resolve().parents[1]


@cache
def definition() -> str:
    """Twelve bytes in hexadecimal; the same for all Pythons and wherever mncc is installed. Raises FileNotFoundError
    where it was installed without its sources."""
    digest = hashlib.sha256()
    for pattern in SOURCES:
        paths = sorted(PACKAGE.glob(pattern))
        if not paths:
            raise FileNotFoundError(f"this installation of mncc lacks its sources {pattern}; install it again")
        for path in paths:
            digest.update(f"{path.relative_to(PACKAGE).as_posix()}\n".encode())
            digest.update(syntax_of(path.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()[:24]


def syntax_of(source: str) -> str:
    """A module's syntax tree without its docstrings. Written out here because what `ast.dump` prints changes from one
    Python to the next, with fields that are empty."""
    return "".join(_written(ast.parse(source)))


def _written(node: Any) -> Iterator[str]:
    if isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for name, value in sorted(ast.iter_fields(node)):
            if name == "body" and isinstance(value, list) and isinstance(node, _DOCUMENTED):
                value = [each for each in value if not _is_text(each)]
            if value is not None and value != [] and not isinstance(value, ast.expr_context):
                yield f" {name}="
                yield from _written(value)
        yield ")"
    elif isinstance(node, list):
        yield "["
        for each in node:
            yield from _written(each)
        yield "]"
    else:
        yield repr(node)


_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef


def _is_text(statement: Any) -> bool:
    """True for a string that stands alone: a docstring, or one behind a constant or field."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def code_of(function: KernelFunction, target: Target) -> str:
    """A hash of the object that the backend makes of a kernel, were all its tensors on lines and nothing fetched ahead:
    that is another matter in another network. Raises OutsideError for a wrong TVM."""
    spec, tiles = function.spec, function.tiles
    assert isinstance(spec, Chain), spec
    between = family_of(spec).shared(spec, tiles) is not None
    function = KernelFunction(spec, tiles, (True,) * (2 + spec.residual + between))
    return hashlib.sha256(compile_functions({function: "kernel"}, target)).hexdigest()[:24]
