"""`python -m mncc` is `mncc`."""

from mncc.cli import run_program

run_program()
