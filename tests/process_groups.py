"""Several processes of one job on this machine, each with its own virtual CPU devices."""

import os
import pathlib
import socket
import subprocess
import sys
from typing import Any, NamedTuple

from tests import tiny_runs


class Ended(NamedTuple):
    """What a process came to."""

    code: int
    log: str


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def start(
    arguments: list[str], processes: int = 2, devices: int = 2, program: tuple[str, ...] = ("launch.py",)
) -> list[subprocess.Popen]:
    """The program, launch.py or another that calls it, with these arguments, once for each process."""
    port, started = free_port(), []
    for index in range(processes):
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        }
        flags = [f"--coordinator_address=localhost:{port}", f"--num_processes={processes}", f"--process_id={index}"]
        command = [sys.executable, *program, *arguments, *(flags if processes > 1 else [])]
        pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=tiny_runs.ROOT, env=environment, **pipes))
    return started


def ended(started: list[subprocess.Popen], timeout: float = 300) -> list[Ended]:
    """The exit codes and logs, when all are at their end; they are killed when the time is over."""
    found = []
    try:
        for process in started:
            _, log = process.communicate(timeout=timeout)
            found.append(Ended(process.returncode, log))
    finally:
        for process in started:
            process.kill()
    return found


def run(
    arguments: list[str], processes: int = 2, devices: int = 2, program: tuple[str, ...] = ("launch.py",)
) -> list[Ended]:
    """`start` to `ended`."""
    return ended(start(arguments, processes, devices, program))


def step_reached(workdir: pathlib.Path) -> int:
    """The newest checkpoint; 0 without one."""
    folder = workdir / "checkpoints"
    return (
        max((int(path.name) for path in folder.glob("*") if path.name.isdigit()), default=0) if folder.exists() else 0
    )
