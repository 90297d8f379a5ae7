"""Every way that a command can fail, its exit status, and how it is told: never by a traceback."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from mncc.language.diagnostic import DiagnosticError, OutsideError
from mncc.report.console import say, say_diagnostics
from mncc.report.interrupts import comes_from_interrupt

DONE, WRONG_INPUT, WRONG_COMMAND, OUTSIDE, INTERRUPTED = 0, 1, 2, 3, 130
"""The exit statuses of all commands."""

_DISK_HELP = {
    errno.ENOSPC: "free some space or name another folder with -o",
    errno.EDQUOT: "your disk quota is used up: free some space or name another folder with -o",
    errno.EROFS: "that disk is read-only: name another folder with -o",
    errno.EACCES: "change its permissions or name another place",
    errno.EPERM: "change its permissions or name another place",
}


class UsageError(Exception):
    """The command line is wrong (exit status 2)."""

    def __init__(self, message: str, help: str | None = None) -> None:
        self.message, self.help = message, help
        super().__init__(message)


def guarded(program: Callable[[], object]) -> int:
    """Runs `program`, tells what went wrong on standard error, and answers the exit status.

    With MNCC_DEBUG=1 the traceback of a bug in mncc, or of something outside that failed, is printed too.
    """
    try:
        result = program()
    except SystemExit as stop:
        return _leave(stop)
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except DiagnosticError as error:
        say_diagnostics(error.diagnostics)
        return WRONG_INPUT
    except UsageError as error:
        say(f"error: {error.message}", error.help)
        return WRONG_COMMAND
    except OutsideError as error:
        _debug()
        say(f"error: {error.message}", error.help)
        return OUTSIDE
    except OSError as error:
        _debug()
        say(f"error: {_describe(error)}", _DISK_HELP.get(error.errno or 0))
        return OUTSIDE
    except MemoryError:
        _debug()
        say("error: the memory of this machine does not suffice", "try a smaller width, resolution or batch")
        return OUTSIDE
    except Exception as error:
        if comes_from_interrupt(error):
            say("interrupted")
            return INTERRUPTED
        return _bug(error)
    return result if isinstance(result, int) else DONE


def _leave(stop: SystemExit) -> int:
    """The status of a SystemExit; texts go to standard error, as Python does it."""
    if isinstance(stop.code, str):
        say(stop.code)
        return WRONG_INPUT
    if stop.code == INTERRUPTED:
        say("interrupted")
    return stop.code or DONE


def _describe(error: OSError) -> str:
    names: Sequence[object] = [n for n in (error.filename, error.filename2) if n is not None]
    where = " and ".join(os.fsdecode(n) if isinstance(n, bytes) else str(n) for n in names)
    what = error.strerror or str(error) or type(error).__name__
    return f"{where}: {what}" if where else what


def _bug(error: Exception) -> int:
    _debug()
    where = ""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f"{os.sep}mncc{os.sep}" in f.filename]
    if frames:
        where = f" (in {os.path.basename(frames[-1].filename)}:{frames[-1].lineno})"
    first_line = (str(error).strip().splitlines() or [""])[0]
    say(
        f"error: this is a bug in mncc: {type(error).__name__}: {first_line}{where}",
        "run it again with MNCC_DEBUG=1 and report what it prints, together with the .mn file and the command",
    )
    return OUTSIDE


def _debug() -> None:
    if os.environ.get("MNCC_DEBUG") == "1":
        traceback.print_exc(file=sys.stderr)
