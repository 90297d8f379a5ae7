"""Measures a kernel that never ends, until a signal comes; run by test_measure.py."""

from mncc.devices.process import Local
from mncc.kernels.target import load_target
from mncc.report.interrupts import interruptible
from mncc.tuning.measure import open_measurer
from mncc.tuning.race import Limits
from tests.tuning.toys import GOOD, HANG, candidates, compile_toy, toy_task

if __name__ == "__main__":
    task = toy_task(load_target("native"))
    limits = Limits(run=60.0)
    with interruptible(), open_measurer([Local()], task.target, 1, limits=limits, compile=compile_toy) as measurer:
        measurer.submit(candidates(task, GOOD, HANG, HANG, HANG))
        for number, _ in enumerate(measurer.outcomes()):
            if number == 0:
                print("measuring", flush=True)
