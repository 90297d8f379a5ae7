"""Text to syntax tree, spans and diagnostics."""

from mncc.language.diagnostic import Diagnostic, DiagnosticError, Label, OutsideError
from mncc.language.parse import parse, read_source
from mncc.language.source import Source, Span
from mncc.language.tree import File, show_tree

__all__ = [
    "Diagnostic",
    "DiagnosticError",
    "File",
    "Label",
    "OutsideError",
    "Source",
    "Span",
    "parse",
    "read_source",
    "show_tree",
]
