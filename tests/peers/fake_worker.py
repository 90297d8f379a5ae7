"""Speaks like mncc/peers/worker/worker.py, without an engine. The job's `engine` says how it behaves."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np


def answer(content: dict[str, object]) -> None:
    print(json.dumps(content), flush=True)


job = json.loads(sys.stdin.readline())
kind = job["engine"]
if kind == "absent":
    answer({"missing": "not installed: pip install absent"})
elif kind == "broken":
    answer({"failed": "ValueError: two\nlines"})
elif kind == "silent":
    time.sleep(60)
elif kind == "nonsense":
    print("hello", flush=True)
elif kind == "crashes":
    print("first line\nlast words\n", file=sys.stderr, flush=True)
    os._exit(7)
else:
    output = Path(job["folder"], "output0.npy")
    np.save(output, np.full(4, float(job["threads"]), np.float32))
    answer({"version": "1.2", "outputs": [str(output)], "seconds": 0.004})
    for number, line in enumerate(sys.stdin):
        count = json.loads(line)["run"]
        if kind == "tired" and number == 2:
            answer({"failed": "RuntimeError: enough"})
        elif kind == "dies" and number == 1:
            os._exit(9)
        else:
            answer({"cpu": [0.004] * count, "wall": [0.008] * count})
