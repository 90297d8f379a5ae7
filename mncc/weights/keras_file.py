"""Keras: HDF5 files (weights alone or whole models, .h5) and Keras 3 archives (.keras).

The order of the layers comes from the model where the file has it: a partly frozen model is stored with its
trainable weights first. Keras 3's weights alone only have the order of the layers of each class. Links that lead out of
the file are never followed.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from mncc.language.diagnostic import DiagnosticError
from mncc.weights.errors import BrokenFile, NoModelInFile
from mncc.weights.stored import Archive, Stored

MAX_MEMBER = 2**31
"""Largest member of a .keras archive that is unpacked, in bytes."""
VARIABLES: Mapping[str, Sequence[str]] = {
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "DepthwiseConv2D": ("depthwise_kernel", "bias"),
    "SeparableConv2D": ("depthwise_kernel", "pointwise_kernel", "bias"),
}
"""Keras 3 numbers a layer's variables; these are their names."""
LAYER = ("kernel", "bias")
"""Of every other layer."""
NORM = "batch_normalization"
"""The class of a norm, as the files of weights alone write it."""
MAX_NESTING = 16


@contextmanager
def open_h5(path: str) -> Iterator[Archive]:
    """The tensors of a .h5 file while it is open, in the order of the model's layers."""
    import h5py

    with ExitStack() as stack:
        with _guard(path, "HDF5"):
            if not h5py.is_hdf5(path):
                raise ValueError("it does not begin like one")
            archive = _h5_archive(path, stack.enter_context(h5py.File(path, "r")))
        yield archive


def _h5_archive(path: str, file: Any) -> Archive:
    group = file["model_weights"] if _group(file, "model_weights") else file
    if "layer_names" not in group.attrs:
        return _weights_alone(path, file)
    layers = _layers(json.loads(_text(file.attrs["model_config"]))) if "model_config" in file.attrs else []
    rank = {layer["name"]: place for place, layer in enumerate(layers)}
    depthwise = {layer["name"] for layer in layers if layer["class"] == "DepthwiseConv2D"}
    tensors: dict[str, Stored] = {}
    for layer in group.attrs["layer_names"]:
        inside = _group(group, _text(layer))
        if inside is None:
            continue
        for name in inside.attrs.get("weight_names", ()):
            key = _text(name).split(":")[0]
            if key.endswith("/kernel") and _layer_of(key, rank) in depthwise:  # as Keras 3 calls it here
                key = key.removesuffix("kernel") + "depthwise_kernel"
            tensors[key] = _stored(path, "HDF5", key, _dataset(inside, _text(name)))
    # Stable: layers that the model does not name keep the file's order, behind the others.
    ordered = sorted(tensors, key=lambda key: rank.get(_layer_of(key, rank), len(rank)))
    return Archive({key: tensors[key] for key in ordered}, _epsilon(layers), keras=True)


def _weights_alone(path: str, file: Any) -> Archive:
    """What Keras 3's `save_weights` leaves: layers that are numbered by class, and no model that says their order."""
    tensors: dict[str, Stored] = {}
    queues: dict[str, str] = {}
    for place, kind in _numbered_layers(file, "layers"):
        variables = file[place]["vars"]
        name = _text(variables.attrs.get("name", place))
        name = place if name in queues else name
        queues[name] = kind
        for number, role in enumerate(_roles_of(kind, len(variables))):
            key = f"{name}/{role}"
            tensors[key] = _stored(path, "HDF5", key, _dataset(variables, str(number)))
    if not tensors:
        raise DiagnosticError([NoModelInFile(path)])
    short = [name for name, kind in queues.items() if kind == NORM and f"{name}/gamma" not in tensors]
    assumed = f"norms of three variables ({short[0]}) are taken to have no gamma (scale=False)" if short else ""
    return Archive(tensors, keras=True, queues=queues, warning=assumed)


def _numbered_layers(file: Any, place: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """(path, class) of every layer with variables, classes apart and by number; first those of models inside."""
    if depth > MAX_NESTING:
        raise ValueError("its models are nested too deeply")
    group = _group(file, place)
    names = sorted(group or (), key=lambda name: (_class_and_number(name), name))
    for name in names:
        yield from _numbered_layers(file, f"{place}/{name}/layers", depth + 1)
    for name in names:
        variables = _group(file, f"{place}/{name}/vars")
        if variables is not None and len(variables):
            yield f"{place}/{name}", _class_and_number(name)[0]


def _class_and_number(name: str) -> tuple[str, int]:
    """`depthwise_conv2d_3` -> (depthwise_conv2d, 3); the first of a class has no number."""
    found = re.fullmatch(r"(.*?)(?:_(\d{1,9}))?", name)
    return (found[1], int(found[2] or 0)) if found else (name, 0)


def _roles_of(kind: str, count: int) -> Sequence[str]:
    """The names of that many variables of a class: a norm of three has no gamma, a layer of one no bias."""
    roles = next((roles for name, roles in VARIABLES.items() if _snake(name) == kind), LAYER)
    return roles[1:] if kind == NORM and count == 3 else roles[:count]


@contextmanager
def open_keras(path: str) -> Iterator[Archive]:
    """The tensors of a .keras archive; its variables have numbers, and the model in it says what they are."""
    import h5py

    with ExitStack() as stack:
        with _guard(path, "Keras"):
            with zipfile.ZipFile(path) as members:
                layers = _layers(json.loads(_member(path, members, "config.json")))
                content = io.BytesIO(_member(path, members, "model.weights.h5"))
            file = stack.enter_context(h5py.File(content, "r"))
            archive = _keras_archive(path, file, layers)
        yield archive


def _keras_archive(path: str, file: Any, layers: Sequence[Mapping[str, Any]]) -> Archive:
    tensors: dict[str, Stored] = {}
    for layer in layers:
        variables = _group(file, f"{layer['path']}/vars")
        if variables is None:
            continue
        for number, role in enumerate(_roles(layer)):
            if str(number) in variables:
                key = f"{layer['name']}/{role}"
                tensors[key] = _stored(path, "Keras", key, _dataset(variables, str(number)))
    return Archive(tensors, _epsilon(layers), keras=True)


@contextmanager
def _guard(path: str, format: str) -> Iterator[None]:
    """Whatever h5py and zipfile raise over a damaged file becomes a diagnostic."""
    try:
        yield
    except (DiagnosticError, PermissionError, FileNotFoundError, IsADirectoryError):
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, EOFError) as error:
        reason = str(error).strip("'\"").split("\n")[0][:120] or type(error).__name__
        raise DiagnosticError([BrokenFile(path, format, reason)]) from None
    except (zipfile.BadZipFile, NotImplementedError, MemoryError, RecursionError) as error:
        raise DiagnosticError([BrokenFile(path, format, str(error) or type(error).__name__)]) from None


def _member(path: str, archive: zipfile.ZipFile, name: str) -> bytes:
    if name not in archive.namelist():
        raise DiagnosticError([BrokenFile(path, "Keras", f"it has no {name}")])
    if archive.getinfo(name).file_size > MAX_MEMBER:
        raise DiagnosticError([BrokenFile(path, "Keras", f"{name} is larger than {MAX_MEMBER:,} bytes")])
    with archive.open(name) as member:
        return member.read(MAX_MEMBER)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _group(parent: Any, name: str) -> Any:
    """The group of that path below `parent`, through hard links only; None where there is none."""
    import h5py

    here = parent
    for part in name.split("/"):
        if not isinstance(here, h5py.Group) or not isinstance(here.get(part, getlink=True), h5py.HardLink):
            return None
        here = here[part]
    return here if isinstance(here, h5py.Group) else None


def _dataset(parent: Any, name: str) -> Any:
    """The dataset of that path, whose bytes must lie in this file."""
    import h5py

    folder, _, last = name.rpartition("/")
    group = _group(parent, folder) if folder else parent
    if group is None or not isinstance(group.get(last, getlink=True), h5py.HardLink):
        raise ValueError(f"it has no tensor {name}")
    dataset = group[last]
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"{name} is not a tensor")
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"the tensor {name} lies outside of the file")
    return dataset


def _stored(path: str, format: str, key: str, dataset: Any) -> Stored:
    def read() -> np.ndarray:
        with _guard(path, format):
            return np.asarray(dataset[()])

    return Stored(key, tuple(dataset.shape or ()), str(dataset.dtype), read)


def _layers(config: Any) -> list[dict[str, Any]]:
    """Every layer of a model in order, those of models inside it in their places: class, name, settings, path."""
    found: list[dict[str, Any]] = []

    def walk(model: Any, path: str, depth: int) -> None:
        if depth > MAX_NESTING:
            raise ValueError("its models are nested too deeply")
        counts: dict[str, int] = {}
        for entry in model["config"]["layers"]:
            kind, settings = str(entry["class_name"]), entry.get("config", {})
            snake = _snake(kind)
            number = counts.get(snake, 0)
            counts[snake] = number + 1
            here = f"{path}layers/{snake}" + (f"_{number}" if number else "")
            if isinstance(settings, dict) and isinstance(settings.get("layers"), list):
                walk(entry, f"{here}/", depth + 1)
            else:
                found.append({"class": kind, "name": settings.get("name", here), "settings": settings, "path": here})

    walk(config, "", 0)
    return found


def _snake(name: str) -> str:
    """A class name as Keras 3 writes it into paths: DepthwiseConv2D -> depthwise_conv2d."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _roles(layer: Mapping[str, Any]) -> list[str]:
    """The names of a layer's numbered variables, without those that its settings leave out."""
    settings = layer["settings"]
    absent = {
        "gamma": not settings.get("scale", True),
        "beta": not settings.get("center", True),
        "bias": not settings.get("use_bias", True),
    }
    return [role for role in VARIABLES.get(layer["class"], LAYER) if not absent.get(role)]


def _layer_of(key: str, rank: Mapping[str, int]) -> str:
    """The layer that a tensor's name belongs to: the part in front of its last name, or the end of that part."""
    prefix = key.rpartition("/")[0]
    return prefix if prefix in rank else prefix.rpartition("/")[2]


def _epsilon(layers: Sequence[Mapping[str, Any]]) -> float | None:
    """The epsilon of all batch norms, where they agree."""
    values = {
        layer["settings"].get("epsilon")
        for layer in layers
        if layer["class"] == "BatchNormalization" and isinstance(layer["settings"].get("epsilon"), float)
    }
    return values.pop() if len(values) == 1 else None
