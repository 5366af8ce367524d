"""What every command shares: flags, one line for bad input, exit codes.

0 done, 2 bad input, 75 stopped by SIGTERM, Ctrl-C, a closed terminal or a lost process (run again to go on), 1 a bug.
"""

import argparse
import errno
import io
import os
import re
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from latentjax import preemption
from latentjax.errors import InputError


class Parser(argparse.ArgumentParser):
    """Flags that may not be abbreviated, with --debug; errors name the flag in the house's one line."""

    def __init__(self, prog: str, **settings: object):
        super().__init__(prog=prog, allow_abbrev=False, **settings)  # type: ignore[arg-type]
        self.add_argument("--debug", action="store_true", help="show the traceback of an error in the input")

    def error(self, message: str) -> NoReturn:
        """Takes argparse's message apart into the flag and what is wrong with it."""
        todo = f"see {self.prog} --help"
        if match := re.fullmatch(r"argument ([^:]+): (.*)", message, re.DOTALL):
            raise InputError(match[1], match[2], todo)
        if match := re.fullmatch(r"the following arguments are required: (.*)", message):
            raise InputError(match[1], "is missing", todo)
        if match := re.fullmatch(r"unrecognized arguments: (.*)", message, re.DOTALL):
            raise InputError(match[1], "is not understood", todo)
        raise InputError("arguments", message, todo)


def run(command: Callable[[list[str]], None]) -> int:
    """Runs a command on the process's arguments and returns the exit code."""
    try:
        with preemption.listening():
            command(sys.argv[1:])
            sys.stdout.flush()
    except KeyboardInterrupt as stopped:
        return _stopped(str(stopped))
    except BrokenPipeError:
        # the reader has seen enough, as in `| head`; nothing may be flushed into the pipe at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if preemption.broke_in():
            return _stopped()
        if not isinstance(error, InputError):
            raise
        if "--debug" in sys.argv[1:]:
            traceback.print_exc()
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    return 0


def _stopped(where: str = "") -> int:
    """Says so, and returns the exit code."""
    print(f"{printable(where) or 'stopped'}; run the same command again to go on", file=sys.stderr)
    return preemption.STOPPED


class Unbroken(io.FileIO):
    """A file that is written into nothing once its reader, a terminal or a pipe, has gone: the work goes on."""

    def write(self, data: Any) -> int:
        """Writes what it can."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            return len(data)


def unbroken(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """The same stream, on an `Unbroken` file."""
    stream.flush()
    file = io.BufferedWriter(Unbroken(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(file, stream.encoding, stream.errors, line_buffering=True, write_through=True)


def process(main: Callable[[], int]) -> NoReturn:
    """The whole of a process: `main`, which calls `run`, and the exit with its code."""
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = unbroken(sys.stderr)
    with preemption.listening(to_the_end=True):
        try:
            code = main()
        except KeyboardInterrupt:
            code = preemption.STOPPED
    sys.exit(code)


def printable(text: str) -> str:
    """The text on one line: names in files, and of files, may hold line breaks and control characters."""
    return "".join(char if char.isprintable() else " " for char in text)
