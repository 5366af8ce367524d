"""What the campaign does to files: damaged checkpoints, a disk with little room."""

import collections
import contextlib
import pathlib
import random
import shutil
import subprocess
from collections.abc import Iterator


def files_of(step: pathlib.Path) -> list[pathlib.Path]:
    """Those of a checkpoint that hold something, always in the same order."""
    return sorted(path for path in step.rglob("*") if path.is_file() and path.stat().st_size)


def damage(step: pathlib.Path, draw: random.Random) -> None:
    """Flips a bit or cuts a file: of the arrays, of what describes them, or of the metrics."""
    groups = collections.defaultdict(list)
    for path in files_of(step):
        parts = path.relative_to(step).parts
        groups["arrays" if "d" in parts else parts[0] == "metrics"].append(path)
    path = draw.choice(draw.choice(list(groups.values())))
    data = bytearray(path.read_bytes())
    if draw.random() < 0.5:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    else:
        del data[draw.randrange(len(data)) :]
    path.write_bytes(data)


def ruin(step: pathlib.Path, draw: random.Random) -> None:
    """Cuts all files of a checkpoint, which none survives."""
    for path in files_of(step):
        path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size)])


@contextlib.contextmanager
def small_disk(folder: pathlib.Path) -> Iterator[None]:
    """A file system of its own at a folder, whose contents outlast it; nothing where mounting is not permitted."""
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    try:
        yield
    finally:
        if mounted:
            aside = folder.with_name("aside")
            shutil.copytree(folder, aside, ignore=shutil.ignore_patterns("filler"))
            # lazily: a child that is being started beside has the campaign's open files for a moment
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
            shutil.copytree(aside, folder, dirs_exist_ok=True)
            shutil.rmtree(aside)
