"""SIGTERM, Ctrl-C, a closed terminal: a training run saves at its next step boundary, all else stops where it is.

The first signal raises `Stopped` in the main thread, or at the end of `deferred()`. A thread counts signals as
they come, for Python's own handlers wait until a compilation is done: the second one ends the process.
"""

import _thread
import contextlib
import functools
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPED = 75  # exit code, EX_TEMPFAIL
TWICE = 0.5  # seconds: who signals a process and its group sends one signal twice


class Stopped(KeyboardInterrupt):
    """The work was stopped and the same command goes on with it; the text says where."""


class Request:
    """What `deferred()` gives: whether a stop was asked for."""

    asked = False


_waiting: list[Request] = []  # of the blocks of `deferred` that the main thread is in
_broken: list[int] = []  # signals that broke into the work of the command at hand
_idle: list[int] = []  # the exit codes of the blocks of `at_once` that it is in


def _on_signal(number: int, _: object) -> None:
    """Of the first signal, in the main thread."""
    if not _waiting:
        _broken.append(number)
        raise Stopped(f"stopped by {signal.Signals(number).name}")
    _waiting[-1].asked = True
    # what the signal interrupted may be a print
    _tell(b"\nstopping at the next step; once more ends it at once\n")


def _on_unraisable(before: Callable[[Any], object], unraisable: Any) -> None:
    """The signal fell into a callback of the garbage collector or the like, which swallows exceptions: once more."""
    if isinstance(unraisable.exc_value, Stopped):
        # from a thread, or it would fall into this function
        threading.Timer(0.01, _thread.interrupt_main, [signal.SIGTERM]).start()
    else:
        before(unraisable)


def _count(signals: socket.socket) -> None:
    """Ends the process at the second signal, whatever the main thread is at."""
    first = None
    with signals:
        while numbers := signals.recv(64):
            for number in filter(SIGNALS.__contains__, numbers):
                if _idle:
                    _end(_idle[-1])
                elif first is None:
                    first = time.monotonic()
                # a terminal that closes sends its own over and again
                elif number != signal.SIGHUP and time.monotonic() - first > TWICE:
                    os._exit(128 + number)


@contextlib.contextmanager
def listening(*, to_the_end: bool = False) -> Iterator[None]:
    """A command: its handlers are installed, in the main thread; elsewhere, and within another one, nothing is.

    Args:
        to_the_end: the process ends with it, and a signal that comes later has nothing left to stop.
    """
    within = signal.getsignal(signal.SIGTERM) is _on_signal
    if within or threading.current_thread() is not threading.main_thread():
        yield
        return
    _broken.clear()
    noted, told = socket.socketpair()
    told.setblocking(False)
    wakeup = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_count, args=(noted,), daemon=True, name="signals").start()
    heard = [number for number in SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, _on_signal) for number in heard}  # under nohup a closed terminal is none
    hook = sys.unraisablehook
    sys.unraisablehook = functools.partial(_on_unraisable, hook)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if to_the_end else handler)
        if not to_the_end:
            sys.unraisablehook = hook
        signal.set_wakeup_fd(wakeup)
        told.close()  # which ends the thread


def _end(code: int) -> None:
    """Ends the process where it is."""
    if code == STOPPED:
        _tell(b"\nstopped; run the same command again to go on\n")
    os._exit(code)


def _tell(line: bytes) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        os.write(2, line)


@contextlib.contextmanager
def at_once(code: int = STOPPED) -> Iterator[None]:
    """A block in which the first signal ends the process: the main thread waits where no signal breaks in.

    The record of a run then says what it says of one that was killed.
    """
    _idle.append(code)
    try:
        if _waiting and _waiting[-1].asked:
            _end(code)
        yield
    finally:
        _idle.pop()


def broke_in() -> bool:
    """Whether a signal raised `Stopped`: what fails after that failed of it, such as the import of an extension."""
    return bool(_broken)


@contextlib.contextmanager
def deferred() -> Iterator[Request]:
    """A block that no signal breaks into, such as a library's that would take it for an error.

    It may ask its `Request` now and then; what was not answered counts at its end.

    Raises:
        Stopped: at the end, where a signal came and the block raised nothing.
    """
    request = Request()
    _waiting.append(request)
    try:
        yield request
    finally:
        _waiting.remove(request)
    if request.asked and _waiting:
        _waiting[-1].asked = True
    elif request.asked:
        raise Stopped("stopped")
