"""The networks that are measured: networks.toml as values."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mncc.report.failures import UsageError
from mncc.verbs.job import RANDOM_WEIGHTS

NETWORKS = Path(__file__).parent / "networks.toml"


@dataclass(frozen=True)
class Case:
    """One network with its settings; networks.toml says what the fields are."""

    name: str
    title: str
    example: str
    settings: dict[str, str] = field(default_factory=dict)
    trained: tuple[str, str] | None = None
    """A package and the file in it."""
    detailed: tuple[int, ...] = ()
    pictured: bool = False

    def weights(self) -> str:
        """What --weights would be given."""
        found = find_spec(self.trained[0]) if self.trained else None
        folders = found.submodule_search_locations if found else None
        file = Path(folders[0], self.trained[1]) if folders and self.trained else None
        return str(file) if file and file.is_file() else RANDOM_WEIGHTS


def load_cases(file: Path = NETWORKS) -> tuple[Case, ...]:
    """All of the file, in its order."""
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    return tuple(_case(entry) for entry in content["network"])


def choose(cases: Sequence[Case], names: Iterable[str]) -> tuple[Case, ...]:
    """Those that are called one of the names, or whose example is. Raises UsageError for a name of none."""
    wanted = list(names)
    for name in wanted:
        if not any(name in (case.name, case.example) for case in cases):
            raise UsageError(f"there is no network {name}", f"networks.toml has {', '.join(c.name for c in cases)}")
    return tuple(case for case in cases if case.name in wanted or case.example in wanted)


def _case(entry: dict[str, Any]) -> Case:
    unknown = set(entry) - {"name", "title", "example", "settings", "weights", "detailed", "pictured"}
    if unknown:
        raise ValueError(f"{entry.get('name')}: {', '.join(sorted(unknown))} means nothing in networks.toml")
    return Case(
        name=entry["name"],
        title=entry["title"],
        example=entry.get("example", entry["name"]),
        settings={name: _text(value) for name, value in entry.get("settings", {}).items()},
        trained=tuple(entry["weights"]) if "weights" in entry else None,
        detailed=tuple(entry.get("detailed", ())),
        pictured=entry.get("pictured", False),
    )


def _text(value: object) -> str:
    """As --set takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
