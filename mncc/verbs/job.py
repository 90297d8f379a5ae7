"""What most verbs begin with: a network at its settings, a target, and weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mncc.kernels.precision import FULL, Precision
from mncc.language.diagnostic import DiagnosticError
from mncc.report.failures import UsageError
from mncc.verbs.precision import find_precision
from mncc.verbs.tuned import find_tuned, refuse_for_gpus, warn_of_misfits

if TYPE_CHECKING:
    from mncc.devices.device import Device
    from mncc.kernels.chain import Chain
    from mncc.kernels.gpu_target import GpuTarget
    from mncc.kernels.target import Target
    from mncc.kernels.tunable import Tunable
    from mncc.kernels.tuned import Table, Unit
    from mncc.network.graph import Network
    from mncc.plan import Plan
    from mncc.weights import Weights

RANDOM_WEIGHTS = "random:0"
"""The weights of a command that names none."""


@dataclass(frozen=True)
class Job:
    """Everything that decides what is compiled."""

    network: Network
    target: Target
    weights: Weights
    name: str
    """What the library is called: a C identifier."""
    cc: str | None = None
    """The C compiler that the command line names; it decides nothing that is compiled before the library is linked."""
    precision: Precision = FULL
    """How weights are stored, and what is computed in."""
    within: tuple[Target, ...] = ()
    """Where one library is for several targets, all of them in the order they were named; `target` is one of them."""
    forced: bool = False
    """Whether that library shall run the kernels for `target`, whatever it would choose."""
    tuned: Mapping[str, Table] = field(default_factory=dict)
    """Tuned kernels by the names of targets."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """All that the library is for."""
        return self.within or (self.target,)

    def plan(self) -> Plan:
        """The network's plan for the target."""
        from mncc.plan import make_plan

        return make_plan(self.network, self.target, self.precision, self.tuned_tiles)

    @property
    def tuned_tiles(self) -> Mapping[Chain, Tunable]:
        """What tuned tables have for the target, for kernels of any network."""
        table = self.tuned.get(self.target.name)
        return table.tiles() if table else {}

    @property
    def singles(self) -> tuple[Job, ...]:
        """A job a target; the library of this one is made of theirs."""
        if not self.within:
            return (self,)
        return tuple(replace(self, target=target, within=(), forced=False) for target in self.within)

    def tuned_kernels(self, unit: Unit | None = None) -> int:
        """How many kernels have tiles from a table, for all targets together; those tuned in one unit, or all."""
        count = 0
        for job in self.singles:
            table = job.tuned.get(job.target.name)
            if table:
                plan = job.plan()
                units: Mapping[object, Unit] = {spec: kernel.unit for spec, kernel in table.kernels.items()}
                count += sum(unit in (None, units.get(k.spec)) for k in plan.kernels if plan.is_tuned(k))
        return count

    def held_weights(self) -> Weights:
        """The weights with the rounding of their stored type: what the library computes with. Raises DiagnosticError
        where that type cannot hold them."""
        return _held(self)

    @property
    def random(self) -> bool:
        """True where the weights are random, and answers therefore mean nothing."""
        return self.weights.source.startswith("random:")


@dataclass(frozen=True)
class GpuJob:
    """The same for GPUs: one library serves several architectures."""

    network: Network
    targets: tuple[GpuTarget, ...]
    """By age, the oldest first."""
    weights: Weights
    name: str
    cc: str | None = None
    precision: Precision = FULL

    def plan(self) -> Plan:
        """The network's plan. Tiles are chosen for the first of the targets; the kernels run on all of them."""
        from mncc.plan import make_plan

        return make_plan(self.network, self.targets[0], self.precision)

    def held_weights(self) -> Weights:
        """As a Job's."""
        return _held(self)

    @property
    def random(self) -> bool:
        """As a Job's."""
        return self.weights.source.startswith("random:")


def _held(job: Job | GpuJob) -> Weights:
    from mncc.plan import stored_tensors

    if job.precision.weights == "float32":
        return job.weights
    return replace(job.weights, tensors=stored_tensors(job.plan(), job.weights.tensors))


def parse_settings(items: Iterable[str]) -> dict[str, str]:
    """`["width=0.75"]` as a mapping; the last of several for one name counts. Raises UsageError."""
    settings = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise UsageError(f"--set {item}: expected name=value", "for example --set width=0.75")
        settings[name.strip()] = value.strip()
    return settings


def load_network(path: str | Path, settings: Mapping[str, str]) -> Network:
    """The network of a .mn file at its settings. Raises DiagnosticError."""
    from mncc.elaborate import load

    return load(Path(path), settings)


def find_target(name: str) -> Target:
    """The target of that name. Raises UsageError with the nearest names where there is none."""
    from mncc.kernels.target import load_target

    _check_single(name)
    try:
        return load_target(name)
    except DiagnosticError as error:
        raise as_usage(f"--target {name}", error) from error


def _check_single(name: str) -> None:
    if "," in name:
        first = next((part.strip() for part in name.split(",") if part.strip()), "native")
        raise UsageError(f"--target {name}: only build, run and verify take several", f"name one: {first}")


def _split(names: str) -> list[str]:
    """The names in `A,B`, each once."""
    found = list(dict.fromkeys(part.strip() for part in names.split(",")))
    if "" in found:
        raise UsageError(f"--target {names}: a name is missing beside the comma", "`mncc targets` lists them")
    return found


def find_targets(name: str) -> tuple[Target, ...]:
    """The targets of `A,B`, each once. Raises UsageError where there is none of a name, or one library cannot hold the
    kernels of both."""
    found = tuple({target.name: target for target in map(find_target, _split(name))}.values())
    for other in found[1:]:
        if other.triple != found[0].triple:
            systems = f"{found[0].name} is for {found[0].triple}, {other.name} for {other.triple}"
            raise UsageError(f"--target {name}: {systems}; one library is for one system", "build once for each")
    return found


def find_machine(name: str) -> Target | GpuTarget:
    """As `find_target`, for GPUs too."""
    from mncc.kernels.target import load_machine

    if not name.startswith("cuda-"):
        return find_target(name)
    _check_single(name)
    try:
        return load_machine(name)
    except DiagnosticError as error:
        raise as_usage(f"--target {name}", error) from error


def find_gpus(names: str) -> tuple[GpuTarget, ...]:
    """The GPUs of `cuda-sm80,cuda-sm90`, each once, the oldest first. Raises UsageError."""
    from mncc.kernels.gpu_target import GpuTarget

    found = {}
    for name in _split(names):
        machine = find_machine(name)
        if not isinstance(machine, GpuTarget):
            help = "build once for the CPUs and once for the GPUs"
            raise UsageError(f"--target {names}: {name} is a CPU, others are GPUs", help)
        found[machine.name] = machine
    return tuple(sorted(found.values(), key=lambda gpu: gpu.generation))


def prepare(
    path: str | Path,
    settings: Mapping[str, str],
    target: str = "native",
    weights: str = RANDOM_WEIGHTS,
    name: str | None = None,
    cc: str | None = None,
    weights_dtype: str = "float32",
    dtype: str = "float32",
    tuned: str | Path | None = None,
) -> Job:
    """Loads network, target or targets, and weights, the cheap and likeliest to fail first. Raises DiagnosticError,
    UsageError."""
    _check_options(name, cc)
    found, *others = find_targets(target)
    precision = find_precision(weights_dtype, dtype, found)
    for other in others:
        find_precision(weights_dtype, dtype, other)
    within = (found, *others) if others else ()
    tables = find_tuned(tuned, (found, *others))
    job = Job(*_loaded(path, settings, weights, name, found), cc, precision, within, tuned=tables)
    for single in job.singles:
        if single.tuned_tiles:
            warn_of_misfits(single.plan())
    return job


def prepare_build(
    path: str | Path,
    settings: Mapping[str, str],
    target: str = "native",
    weights: str = RANDOM_WEIGHTS,
    name: str | None = None,
    cc: str | None = None,
    weights_dtype: str = "float32",
    dtype: str = "float32",
    tuned: str | Path | None = None,
) -> Job | GpuJob:
    """As `prepare`, for GPUs too: what can be built."""
    if not any(name.strip().startswith("cuda-") for name in target.split(",")):
        return prepare(path, settings, target, weights, name, cc, weights_dtype, dtype, tuned)
    refuse_for_gpus(tuned)
    _check_options(name, cc)
    found = find_gpus(target)
    precision = find_precision(weights_dtype, dtype, found[0])
    return GpuJob(*_loaded(path, settings, weights, name, found), cc, precision)


def _check_options(name: str | None, cc: str | None) -> None:
    if name is not None:
        _check_name(name, given=True)
    if cc is not None and not cc.strip():
        raise UsageError("--cc names no compiler", "for example --cc aarch64-linux-gnu-gcc")


T = TypeVar("T")


def _loaded(
    path: str | Path, settings: Mapping[str, str], weights: str, name: str | None, target: T
) -> tuple[Network, T, Weights, str]:
    """What a job begins with."""
    network = load_network(path, settings)
    if name is None:
        _check_name(network.name, given=False)

    from mncc.weights import load_weights

    return network, target, load_weights(network, weights), name or network.name


def require_one_target(job: Job) -> None:
    """Raises UsageError for a job of several targets."""
    if job.within:
        names = ",".join(target.name for target in job.within)
        raise UsageError(f"--target {names}: only build, run and verify take several", f"name one: {job.target.name}")


def parse_device(text: str) -> Device:
    """What --device names. Raises UsageError."""
    from mncc.devices.find import find_device

    try:
        return find_device(text)
    except DiagnosticError as error:
        raise as_usage(f"--device {text}", error) from error


def _check_name(name: str, given: bool) -> None:
    """Raises DiagnosticError, or UsageError where the name was given on the command line."""
    from mncc.library.names import check_name

    if name == "mncc":
        help = "for example --name my_mncc"
        raise UsageError("the header of every library defines mncc_model itself: no library can be called mncc", help)
    try:
        check_name(name)
    except DiagnosticError as error:
        if given:
            raise as_usage(f"--name {name}", error) from error
        raise


def as_usage(option: str, error: DiagnosticError) -> UsageError:
    """What is wrong with the value of an option, as an error of the command line."""
    only = error.diagnostics[0]
    return UsageError(f"{option}: {only.title}", only.help)
