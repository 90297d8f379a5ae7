"""When a kernel is finished, and which one is next."""

from __future__ import annotations

from mncc.tuning.share import PATIENCE, Standing, next_standing
from tests.tuning.fakes import tiny_tasks


def standing(bound: float | None, *costs: float) -> Standing:
    """A kernel whose default took the first of the costs."""
    task = tiny_tasks()[0]
    made = Standing(task, bound)
    for cost in costs:
        made.take(task.default, cost, 1)
    return made


def test_a_kernel_at_its_roofline_is_finished() -> None:
    assert standing(1.0, 1.2).done == ""
    assert standing(1.0, 1.2, 1.01).done == "at its roofline"


def test_a_roofline_that_is_too_high_ends_nothing() -> None:
    assert standing(1.0, 0.9).done == ""


def test_small_gains_do_not_renew_the_patience() -> None:
    made = standing(None, 1.0, *(1.0 - 5e-5 * n for n in range(PATIENCE)))
    assert made.done == f"no gain in {PATIENCE} trials"


def test_the_one_with_most_to_gain_is_next() -> None:
    near, far, done, waits = standing(1.0, 1.05), standing(1.0, 1.5), standing(1.0, 1.0), standing(1.0, 9.0)
    waits.waiting = True
    assert next_standing([near, far, done, waits]) is far
    assert next_standing([done, waits]) is None


def test_kernels_that_nothing_is_known_of_come_first() -> None:
    unknown = Standing(tiny_tasks()[1], 1e-6)
    assert next_standing([standing(1.0, 1.5), unknown]) is unknown
