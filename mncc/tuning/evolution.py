"""MetaSchedule's evolutionary search over the decisions of one kernel.

What MetaSchedule sees of a kernel is a function that does nothing, whose schedule samples a decision a knob; what the
decisions mean is the space's business (kernels/space.py). It asks and is told: MetaSchedule proposes decision vectors,
somebody measures them, and its database has every one of them, a trace each.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any, Protocol

import numpy as np
import tvm
from tvm import te
from tvm.ir.utils import derived_object
from tvm.s_tir import meta_schedule as ms

Decisions = tuple[int, ...]
"""The index of a choice a knob."""
Costs = Mapping[Decisions, float | None]
"""What is known; None where a candidate failed."""
Score = Callable[[Sequence[Decisions]], Sequence[float]]
"""How good decision vectors are thought to be: positive, more is better; 0 for those that fit nothing."""

FAILED = 1e10
"""What MetaSchedule's database has of a candidate that failed, in the place of seconds."""
BATCH = 8
"""Candidates that are proposed at a time, and share an executable."""
POPULATION, GENERATIONS = 96, 3
RANDOM_SHARE = 0.15
"""Of a batch, those that are picked whatever they are thought to be."""
ATTEMPTS = 12
"""Batches in a row that are known already, until the space counts as exhausted."""
NEAR = 3
"""Steps that half of all mutations go at most: neighbouring choices of a knob are alike."""
_MOST_TRIALS = 1 << 20
_BLOCK, _SOURCE = "kernel", "source"
_KEY, _DEFINITION, _COSTS = "mncc.kernel", "mncc.definition", "mncc.costs"
_BY_DEFAULT = "by the default's"
"""What costs are in a record. An earlier version wrote seconds, each run in a unit of its own, and did not say so."""


def workload(key: str, definition: str) -> tvm.IRModule:
    """What stands for a kernel in the database: `key` tells it from all others, `definition` says what makes its
    code."""
    source = te.placeholder((1,), name=_SOURCE)
    made = te.compute((1,), lambda i: source[i], name=_BLOCK)
    function = te.create_prim_func([source, made]).with_attr({_KEY: key, _DEFINITION: definition, _COSTS: _BY_DEFAULT})
    return tvm.IRModule({"main": function.with_attr("global_symbol", "main")})


def described(record: Any) -> tuple[str, str, Decisions, float | None]:
    """A database's record as key, definition, decisions and cost by the default's; the definition is empty where costs
    are anything else. Raises KeyError, TypeError, RuntimeError for one that is no kernel's."""
    attributes = record.workload.mod["main"].attrs
    kinds = [instruction.kind.name for instruction in record.trace.insts]
    many = len(record.trace.decisions)
    if kinds[: 2 * many + 1] != ["GetSBlock", *["SampleCategorical", "Annotate"] * many]:
        raise TypeError(f"a trace of {', '.join(kinds)}")
    seconds = [float(each) for each in record.run_secs or (FAILED,)]
    mean = sum(seconds) / len(seconds)
    cost = mean if 0 < mean < FAILED else None
    definition = str(attributes[_DEFINITION]) if attributes.get(_COSTS) == _BY_DEFAULT else ""
    return str(attributes[_KEY]), definition, _decided(record.trace), cost


class Records(Protocol):
    """MetaSchedule's database, and how a trial is written into it."""

    @property
    def handle(self) -> Any: ...

    def write(self, record: Any) -> None:
        """Raises OutsideError where it cannot be written."""
        ...


class Evolution:
    """The search of one kernel. `sizes` are the numbers of choices of its knobs, `fits` whether decisions go together,
    `score` what is thought of them; `known` is what was measured before, and grows with what is told."""

    def __init__(
        self,
        module: tvm.IRModule,
        sizes: Sequence[int],
        fits: Callable[[Decisions], bool],
        score: Score,
        database: Records,
        known: Costs,
        seed: int,
    ) -> None:
        self.known = dict(known)
        self.exhausted = not sizes or max(sizes) == 1
        self._database = database
        self._workload = database.handle.commit_workload(module)
        self._asked: list[Any] = []
        self._context = _context(module, _space(sizes, fits, Random(seed)), seed)
        self._designs = self._context.generate_design_space()
        self._context.pre_tuning(_MOST_TRIALS, BATCH, self._designs, database.handle, _model(score, fits))

    def propose(self) -> list[Decisions]:
        """Up to BATCH decision vectors that nobody has measured; none once `exhausted`. Another batch is proposed when
        all of this one are told. Raises RuntimeError where MetaSchedule fails."""
        for _ in range(ATTEMPTS):
            if self.exhausted:
                return []
            with uninterrupted():
                self._asked = list(self._context.generate_measure_candidates() or ())
            fresh = [d for d in dict.fromkeys(self._vectors()) if d not in self.known]
            if fresh:
                return fresh
            self.exhausted = not self._asked
            self._answer()
        self.exhausted = True
        return []

    def tell(self, decisions: Decisions, cost: float | None, written: bool = True) -> None:
        """The cost of a candidate by the default's, or None where it failed; where `written`, the database has it for
        later runs. A candidate that was proposed by nobody counts as well. Raises OutsideError."""
        self.known[decisions] = cost
        if written:
            seconds = [FAILED if cost is None else cost]
            record = ms.database.TuningRecord(self._trace(decisions), self._workload, seconds)
            self._database.write(record)
        if self._asked and all(vector in self.known for vector in self._vectors()):
            self._answer()

    def _vectors(self) -> list[Decisions]:
        return [_decided(candidate.sch.trace) for candidate in self._asked]

    def _answer(self) -> None:
        """Tells MetaSchedule of its batch, without which it proposes no other."""
        results = []
        for vector in self._vectors():
            cost = self.known[vector]
            failed = None if cost is not None else "failed"
            results.append(ms.runner.RunnerResult(None if cost is None else [cost], failed))
        if self._asked:
            self._context.notify_runner_results(self._asked, results)
        self._asked = []

    def _trace(self, decisions: Decisions) -> Any:
        trace = self._designs[0].trace
        for sample, decision in zip(_samples(trace), decisions, strict=True):
            trace = trace.with_decision(sample, decision, remove_postproc=True)
        return trace


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Signals that come inside are delivered at the end: TVM makes an error of its own of an exception that a signal
    raises in a function which it called, and the search could not tell it from its own failures."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)


def _context(module: tvm.IRModule, space: Any, seed: int) -> Any:
    """What holds a search together. TuneContext's own constructor first imports all tensor intrinsics there are, which
    takes 40 s and is of no use here: this makes the same object without."""
    strategy = ms.search_strategy.EvolutionarySearch(
        population_size=POPULATION,
        init_measured_ratio=0.5,
        init_min_unmeasured=1,
        genetic_num_iters=GENERATIONS,
        eps_greedy=RANDOM_SHARE,
    )
    target = tvm.target.Target({"kind": "llvm", "num-cores": 1})
    told = ms.logging.get_logging_func(_silent())
    context = ms.TuneContext.__new__(ms.TuneContext)
    random_state, threads = seed % (1 << 30) + 1, 1
    parts = (module, target, space, strategy, "main", threads, random_state, told)
    context.__init_handle_by_constructor__(ms._ffi_api.TuneContext, *parts)
    ms._ffi_api.TuneContextInitialize(context)
    return context


def _samples(trace: Any) -> list[Any]:
    """The instructions that decide, in the order of the knobs. All traces are alike: the block is looked up, then every
    decision is sampled and annotated."""
    instructions = trace.insts
    return [instructions[place] for place in range(1, 2 * len(trace.decisions), 2)]


def _decided(trace: Any) -> Decisions:
    decisions = trace.decisions
    return tuple(int(decisions[sample]) for sample in _samples(trace))


def _space(sizes: Sequence[int], fits: Callable[[Decisions], bool], random: Random) -> Any:
    """A schedule that takes a decision a knob and does nothing else; the annotations tell one candidate from another.
    TVM calls the classes' methods by their names."""

    def template(schedule: Any) -> list[Any]:
        block = schedule.get_sblock(_BLOCK, func_name="main")
        for index, size in enumerate(sizes):
            decision = schedule.sample_categorical(list(range(size)), [1 / size] * size)
            schedule.annotate(block, f"knob{index}", decision)
        return [schedule]

    @derived_object
    class Fits(ms.postproc.PyPostproc):
        """Lets through what goes together."""

        def _initialize_with_tune_context(self, context: Any) -> None:
            pass

        def apply(self, schedule: Any) -> bool:
            return fits(_decided(schedule.trace))

        def clone(self) -> Any:
            return Fits()

    @derived_object
    class Change(ms.mutator.PyMutator):
        """Decides one knob anew, every other time not far from where it was."""

        def _initialize_with_tune_context(self, context: Any) -> None:
            pass

        def apply(self, trace: Any, _: Any) -> Any:
            free = [number for number, size in enumerate(sizes) if size > 1]
            number = random.choice(free)
            decision = _other(_decided(trace)[number], sizes[number], random)
            return trace.with_decision(_samples(trace)[number], decision, remove_postproc=True)

        def clone(self) -> Any:
            return Change()

    mutators = {Change(): 1.0}
    return ms.space_generator.ScheduleFn(template, sch_rules=[], postprocs=[Fits()], mutator_probs=mutators)


def _other(decision: int, size: int, random: Random) -> int:
    """Another choice of `size`."""
    if random.random() < 0.5:
        near = [other for other in range(decision - NEAR, decision + NEAR + 1) if 0 <= other < size]
        return random.choice([other for other in near if other != decision])
    return random.choice([other for other in range(size) if other != decision])


def _model(score: Score, fits: Callable[[Decisions], bool]) -> Any:
    """MetaSchedule's cost model, which asks `score`."""

    @derived_object
    class Model(ms.cost_model.PyCostModel):
        def load(self, path: str) -> None:
            pass

        def save(self, path: str) -> None:
            pass

        def update(self, context: Any, candidates: Iterable[Any], results: Iterable[Any]) -> None:
            pass

        def predict(self, context: Any, candidates: Iterable[Any]) -> np.ndarray:
            vectors = [_decided(candidate.sch.trace) for candidate in candidates]
            fitting = [vector for vector in vectors if fits(vector)]
            scores = dict(zip(fitting, score(fitting), strict=True))
            return np.array([scores.get(vector, 0.0) for vector in vectors], dtype="float64")

    return Model()


def _silent() -> logging.Logger:
    """MetaSchedule tells of every generation; it has nothing to say to the person who waits."""
    logger = logging.getLogger("mncc.tuning.metaschedule")
    logger.setLevel(logging.CRITICAL)
    logger.propagate = False
    return logger
