"""Names as C sees them: which are allowed, and what the header calls each tensor."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mncc.language.diagnostic import Diagnostic, DiagnosticError
from mncc.library.spec import Interface, InterfaceTensor

_C_WORDS = frozenset(
    """auto break case char const continue default do double else enum extern float for goto if inline int long register
    restrict return short signed sizeof static struct switch typedef union unsigned void volatile while""".split()
)


@dataclass(frozen=True)
class NotAnIdentifier(Diagnostic):
    """The library's name cannot begin the names of C functions."""

    name: str

    @property
    def title(self) -> str:
        if self.name in _C_WORDS:
            return f"the library's name {self.name!r} is a word of C"
        if re.match("mncc(_|$)", self.name):
            return f"the library's name {self.name!r} begins as the names that all libraries share"
        return f"the library's name {self.name!r} is not a C identifier"

    @property
    def help(self) -> str:
        words = re.sub(r"\W+", "_", self.name, flags=re.ASCII).strip("_") or "network"
        name = words if _is_free(words) else f"net_{words}"
        return f"`--name {name}` works: letters, digits and underscores"


@dataclass(frozen=True)
class SameMacro(Diagnostic):
    """Two inputs or outputs would have the same macros in the header."""

    first: str
    second: str
    macro: str

    @property
    def title(self) -> str:
        return f"the tensors {self.first!r} and {self.second!r} would both be {self.macro}_SHAPE in the header"

    @property
    def help(self) -> str:
        return "give one of them another name in the network's file"


def check_name(name: str) -> None:
    """Raises DiagnosticError where `name` cannot prefix C functions: libNAME.so, NAME_run, NAME.h."""
    if not _is_free(name):
        raise DiagnosticError([NotAnIdentifier(name)])


def _is_free(name: str) -> bool:
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) is not None
    return plain and name not in _C_WORDS and re.match("mncc(_|$)", name) is None


def macro_names(spec: Interface) -> dict[str, tuple[str, ...]]:
    """The macro prefix of every input and output: NAME_INPUT where there is one input, else NAME_<tensor>.

    Raises DiagnosticError where two tensors would share one.
    """
    upper = spec.name.upper()
    owner: dict[str, str] = {}
    named: dict[str, tuple[str, ...]] = {}
    for side, tensors in (("INPUT", spec.inputs), ("OUTPUT", spec.outputs)):
        prefixes = []
        for tensor in tensors:
            prefix = f"{upper}_{side if len(tensors) == 1 else c_word(tensor.name).upper()}"
            if prefix in owner:
                raise DiagnosticError([SameMacro(owner[prefix], tensor.name, prefix)])
            owner[prefix] = tensor.name
            prefixes.append(prefix)
        named[side.lower()] = tuple(prefixes)
    return named


def parameter_names(side: str, tensors: tuple[InterfaceTensor, ...]) -> tuple[str, ...]:
    """What NAME_run calls its pointers: `input`, or `input_<tensor>` where there are several."""
    if len(tensors) == 1:
        return (side,)
    return tuple(f"{side}_{c_word(tensor.name)}" for tensor in tensors)


def c_word(name: str) -> str:
    """`name` with everything that a C identifier cannot hold replaced."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name) or "_"


def c_string(text: str) -> str:
    """`text` as a C string literal."""
    out = []
    for byte in text.encode():
        char = chr(byte)
        out.append(char if 32 <= byte < 127 and char not in '"\\?' else f"\\{byte:03o}")
    return '"' + "".join(out) + '"'
