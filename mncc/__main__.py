"""`python -m mncc` is `mncc`."""

from __future__ import annotations

import sys


def main() -> None:
    """The `mncc` script. The command line is imported where Ctrl-C is already no traceback."""
    from mncc.report.interrupts import interruptible

    try:
        with interruptible():
            from mncc.cli import run_program

            run_program()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
