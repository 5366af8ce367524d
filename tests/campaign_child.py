"""One start of a command that is interrupted from outside: its end, what it told, and what was being saved then."""

import contextlib
import os
import pathlib
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from tests import tiny_runs

PATIENCE = 180.0  # seconds; what takes longer hangs
TEMPORARY = "orbax-checkpoint-tmp"  # in the name of Orbax's temporary folders
Marks = set[tuple[str, int]]


class Ended(NamedTuple):
    """A command that is over."""

    code: int
    told: str  # on stderr
    in_save: bool  # a save was under way
    strays: bool  # a process that it started is still there


def marks(checkpoints: pathlib.Path) -> Marks:
    """What is in a folder of checkpoints, and when it changed; a folder that is made anew has another time."""
    found = set()
    with contextlib.suppress(FileNotFoundError):
        for path in os.scandir(checkpoints):
            with contextlib.suppress(FileNotFoundError):
                found.add((path.name, path.stat().st_mtime_ns))
    return found


def steps(checkpoints: pathlib.Path) -> list[int]:
    """The steps that are saved."""
    return sorted(int(name) for name, _ in marks(checkpoints) if name.isdigit())


def in_save(checkpoints: pathlib.Path, before: Marks, since: float) -> bool:
    """Whether the folder shows a save that a process began: something temporary, or a step without its parts.

    Args:
        checkpoints: the folder.
        before: its marks when the process began.
        since: when that was; what is older in a temporary folder was left by another, and may be on its way out.
    """
    parts, names = ("_CHECKPOINT_METADATA", "default", "metrics"), {name for name, _ in before}
    for name, _ in marks(checkpoints) - before:
        path = checkpoints / name
        if TEMPORARY in name and (name not in names or any(part.lstat().st_mtime > since for part in path.rglob("*"))):
            return True
        if name.isdigit() and not all((path / part).exists() for part in parts):
            return True
    return False


class Child:
    """A command in a process group of its own.

    Args:
        command: to run in the repository.
        checkpoints: the folder that it saves to.
    """

    def __init__(self, command: list[str], checkpoints: pathlib.Path):
        self.checkpoints, self.before = checkpoints, marks(checkpoints)
        self.begin, self._since = time.monotonic(), time.time()
        # a child that may not write long files would leave half a .pyc
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONDONTWRITEBYTECODE": "1"}
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        self._process = subprocess.Popen(
            command, cwd=tiny_runs.ROOT, env=environment, start_new_session=True, **streams
        )
        self.pid = self._process.pid
        self._told: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        """A pipe and not a file, which the child's limit of the length of files would cut."""
        assert self._process.stderr
        while part := os.read(self._process.stderr.fileno(), 1 << 16):
            self._told.append(part)

    def wait(self, is_time: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        """Until it is time; False: the command ended before, or the seconds did."""
        end = time.monotonic() + seconds
        while self._process.poll() is None and time.monotonic() < end:
            if is_time():
                return True
            time.sleep(0.003)
        return False

    def saves(self) -> bool:
        """Whether this start has saved a step."""
        return bool({name for name, _ in marks(self.checkpoints) if name.isdigit()} - {name for name, _ in self.before})

    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.begin

    def loads_jax(self) -> bool:
        """Whether it is past Python's own start, in which no signal can be handled."""
        try:
            return "jaxlib" in pathlib.Path(f"/proc/{self.pid}/maps").read_text()
        except OSError:
            return True

    def send(self, number: int) -> None:
        """A signal, if the command is still there."""
        self._process.send_signal(number)

    def limit_files(self, size: int) -> None:
        """From now on no file may grow beyond this."""
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (size, size))

    def end(self, seconds: float = PATIENCE) -> Ended:
        """Waits for the end; the code of what hangs, and is killed, is that of a kill."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self._process.wait()
        at_end = in_save(self.checkpoints, self.before, self._since)
        strays = self._group_stays()
        if not strays:
            self._reader.join()
        told = b"".join(self._told).decode(errors="replace")
        return Ended(self._process.returncode, told, at_end, strays)

    def _group_stays(self) -> bool:
        """Whether what the command started outlives it by more than seconds."""
        end = time.monotonic() + 5
        while time.monotonic() < end:
            try:
                os.killpg(self.pid, 0)
            except ProcessLookupError:
                return False
            time.sleep(0.01)
        os.killpg(self.pid, signal.SIGKILL)
        return True
