"""Frozen dataclasses as JSON and back, for files that people may edit and other versions may have written."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def to_json(value: Any) -> Any:
    """Objects, lists, numbers and strings. What a field has by default is left out, so that a field which is added
    later with a default changes no file."""
    if is_dataclass(value) and not isinstance(value, type):
        told = ((field, getattr(value, field.name)) for field in fields(value))
        return {field.name: to_json(its) for field, its in told if field.default is MISSING or its != field.default}
    return [to_json(each) for each in value] if isinstance(value, tuple) else value


def from_json(kind: Any, data: Any) -> Any:
    """The value of that type, a class or an annotation. Raises ValueError where the data is none."""
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        return _record(kind, data)
    if origin is Literal:
        found = [choice for choice in arguments if choice == data and type(choice) is type(data)]
    elif origin in (Union, UnionType):
        return None if data is None and NoneType in arguments else from_json(arguments[0], data)
    elif origin is tuple:
        return _tuple(arguments, data)
    elif kind is float:
        found = [float(data)] if type(data) in (int, float) else []
    else:
        found = [data] if type(data) is kind else []
    if not found:
        raise ValueError(f"{data!r} is no {getattr(kind, '__name__', kind)}")
    return found[0]


def _record(kind: type, data: Any) -> Any:
    hints, known = _fields(kind)
    if not isinstance(data, dict) or not data.keys() <= known.keys():
        raise ValueError(f"{data!r} is no {kind.__name__}")
    missing = [name for name, field in known.items() if name not in data and field.default is MISSING]
    if missing:
        raise ValueError(f"a {kind.__name__} lacks {', '.join(missing)}")
    try:
        return kind(**{name: from_json(hints[name], its) for name, its in data.items()})
    except AssertionError as error:
        raise ValueError(f"{data!r} is no {kind.__name__}: {error}") from error


@cache
def _fields(kind: type) -> tuple[dict[str, Any], dict[str, Field[Any]]]:
    """The types of a dataclass's fields, and the fields."""
    return get_type_hints(kind), {field.name: field for field in fields(kind)}


def _tuple(kinds: tuple[Any, ...], data: Any) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise ValueError(f"{data!r} is no list")
    if kinds[-1:] == (Ellipsis,):
        kinds = (kinds[0],) * len(data)
    if len(kinds) != len(data):
        raise ValueError(f"{data!r} has not {len(kinds)} entries")
    return tuple(from_json(kind, each) for kind, each in zip(kinds, data, strict=True))
