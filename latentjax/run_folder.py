"""A run folder: which config made it, on what, and where its parts are."""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax

from latentjax import config as configs
from latentjax import distributed, locks, starts
from latentjax.errors import InputError
from latentjax.files import read_json, recover, told, write_json
from latentjax.preemption import Stopped

# these may change between two starts in the same folder
FREE = (
    *("train.num_steps", "train.log_every", "train.checkpoint_every", "train.profile_steps", "platform"),
    *("assessor_training.num_steps", "assessor_training.log_every", "assessor_training.workers", "data.skip_bad"),
)
FREE_GROUPS = ("evaluate.", "generate.", "animate.", "explore.", "plan.")
# replaced as a whole while a run goes on
REPLACED = ("config.json", "run.json", "heartbeat.json", "metrics.jsonl", "validation.jsonl", "transformer", "assessor")
# what a run makes when it is well under way, which is late to learn that it cannot
FOLDERS = ("checkpoints", "tensorboard", "profile", "samples", "evaluation")
FILES = ("run.json", "heartbeat.json", "metrics.jsonl", "validation.jsonl")
# config.json tells of the command alone, and checkpoints refuse another run's
AGAIN = "start the same command with a new --workdir, stop it, and copy its config.json over this one"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


class RunFolder:
    """The workdir of one config.

    Args:
        workdir: made where it is missing.
        config: the resolved config.

    Raises:
        InputError: the folder was made with another config, is a file, or cannot be written.
    """

    def __init__(self, workdir: str, config: configs.ConfigDict):
        if not workdir:
            raise InputError("--workdir", "is empty", "name a folder")
        if "://" in workdir:
            todo = "name a local folder; --config.checkpoints.folder may be on gs://"
            raise InputError("--workdir", f"is {workdir}, and a run's folder is local", todo)
        self.path = pathlib.Path(workdir)
        self.config = config
        self.starts: list[dict[str, Any]] = []  # of this run, this one the last
        try:
            known = self._known_config()
            self.is_new = known is None
            if distributed.is_primary():
                locks.refuse_taken(self.path)
        except OSError as error:
            raise InputError(self.path, f"cannot be read ({error.strerror})", "name another --workdir") from error
        if known is not None:
            self._refuse_changes(known)
            self._refuse_other_kinds()
            self._put_back()

    def _refuse_other_kinds(self) -> None:
        """A file has the name of a folder that a run makes, or the reverse."""
        for name in FOLDERS + FILES:
            path, kind = self.path / name, "folder" if name in FOLDERS else "file"
            if path.exists() and path.is_dir() != (kind == "folder"):
                raise InputError(path, f"is no {kind}, and a run makes a {kind} of this name", "move it away")

    def create(self) -> None:
        """Makes the folder, locks it for the primary process and writes config.json.

        Raises:
            InputError: it cannot be written, or another process is writing into it.
        """
        if distributed.is_primary():
            self._write_config()
        distributed.wait_for_all("the run folder")
        if not distributed.is_primary():
            self._write_config(unshared=True)

    def _write_config(self, *, unshared: bool = False) -> None:
        """Takes the folder; `unshared`: unless the primary process did, on a disk that is also this one's."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # making and listing ask the disk; NFS remembers for a while of a name that it was not there
            if unshared and "config.json" in os.listdir(self.path):
                return
            locks.hold(self.path)
            for name in REPLACED:
                recover(self.path / name)
            _opened.append(self)
            record = {"sha256": configs.digest(self.config), "config": configs.plain(self.config)}
            write_json(self.path / "config.json", record)
        except OSError as error:
            raise InputError(self.path, f"cannot be written ({error.strerror})", "name another --workdir") from error

    def _put_back(self) -> None:
        """What a killed process was replacing is there again before anything reads it.

        Raises:
            InputError: it cannot be, or another process began to write.
        """
        if distributed.is_primary() and any(self.path.glob(".*.old.*")):
            with told(self.path), locks.released():
                locks.hold(self.path)
                for name in REPLACED:
                    recover(self.path / name)

    def _known_config(self) -> dict[str, Any] | None:
        """The config of an earlier start."""
        file = self.path / "config.json"
        if not file.exists():
            # a process that was killed at the wrong moment, or is at it now, leaves half a config.json under its name
            own = (".config.json.", locks.NAME)
            if self.path.is_dir() and any(not path.name.startswith(own) for path in self.path.iterdir()):
                raise InputError(self.path, "is neither empty nor a run folder", "name another --workdir")
            if self.path.exists() and not self.path.is_dir():
                raise InputError(self.path, "is a file", "name a folder with --workdir")
            return None
        try:
            known = read_json(file).get("config")
        except ValueError as error:
            raise InputError(file, f"is damaged ({error})", AGAIN) from error
        if not isinstance(known, dict):
            raise InputError(file, "is damaged (it holds no config)", AGAIN)
        return known

    def _refuse_changes(self, known: dict[str, Any]) -> None:
        """A run goes on under its own config, but for a short list of fields."""
        now = configs.plain(self.config)
        kept = fixed(now)
        differing = [
            field
            for field in sorted(known | now)
            if known.get(field) != now.get(field) and (field in kept or field not in now)
        ]
        if differing:
            shown = [f"{field} is {known.get(field)!r} there and {now.get(field)!r} here" for field in differing[:2]]
            more = f"; also {', '.join(differing[2:])}" if len(differing) > 2 else ""
            what = f"was made with another config ({'; '.join(shown)}{more})"
            raise InputError(self.path, what, "name another --workdir, or give the same config")

    def identity(self, **sha256: str) -> dict[str, str]:
        """What a checkpoint of this run must be of: the fields that may not change, and the weights."""
        text = json.dumps(fixed(configs.plain(self.config)), sort_keys=True)
        return {"config": hashlib.sha256(text.encode()).hexdigest(), **sha256}

    def refuse_other_weights(self, **sha256: str) -> None:
        """A run goes on with its own generator and assessor, whatever their paths hold now.

        Raises:
            InputError: a checksum is not that of an earlier start.
        """
        file = self.path / "run.json"
        try:
            known = read_json(file) if file.exists() else {}
        except OSError as error:
            todo = "mend that, and run the same command again"
            raise InputError(file, f"cannot be read ({error.strerror})", todo) from error
        except ValueError as error:
            # each checkpoint has the identity of its run
            raise InputError(file, f"is damaged ({error})", "remove it: checkpoints know whose they are") from error
        for name, digest in sha256.items():
            if known.get(name, digest) != digest:
                what = f"was made with another {name.removesuffix('_sha256')} than the one that is there now"
                raise InputError(self.path, what, "name another --workdir, or put the old weights back")

    def write_run(self, **facts: Any) -> None:
        """run.json: what this start runs on, and all starts; checksums that are not given stay.

        Raises:
            InputError: it cannot be written.
        """
        if not distributed.is_primary():
            return
        before = starts.read(self.path / "run.json")
        self._run = {
            **{name: value for name, value in before.items() if name.endswith("_sha256")},
            "command": sys.argv,
            "config_sha256": configs.digest(self.config),
            "python": platform.python_version(),
            "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
            "devices": [f"{device.platform}:{device.device_kind}" for device in jax.devices()],
            "processes": jax.process_count(),
            "git_revision": git_revision(),
            **facts,
        }
        # last: what has starts can be noted, whenever a signal comes
        self.starts = self.starts or [*starts.known(self.path), starts.begun(sys.argv)]
        self.note()

    def note(self, **facts: Any) -> None:
        """Adds to what run.json says of this start.

        Raises:
            InputError: it cannot be written.
        """
        if self.starts:
            self.starts[-1] |= facts
            with told(self.path):
                write_json(self.path / "run.json", {**self._run, "starts": self.starts})


def job(run: Callable[[configs.ConfigDict, str], str | None]) -> Callable[[configs.ConfigDict, str], str | None]:
    """A job that, however it ends, gives up the locks that it took and notes its end in run.json.

    Args:
        run: the job; it returns what it did, for the closing line.
    """

    @functools.wraps(run)
    def whole(config: configs.ConfigDict, workdir: str) -> str | None:
        with locks.released():
            how, earlier = "failed", len(_opened)
            try:
                did = run(config, workdir)
                how = "done"
            except Stopped:
                how = "stopped"
                raise
            except InputError:
                how = "refused"
                raise
            finally:
                for folder in _opened[earlier:]:
                    _end(folder, how)
                del _opened[earlier:]
            return did

    return whole


_opened: list[RunFolder] = []  # by the jobs that are running


def _end(folder: RunFolder, how: str) -> None:
    """Notes the end, unless the disk has no room for it, which has been told of."""
    with contextlib.suppress(InputError):
        folder.note(ended=time.time(), how=how)


def fixed(fields: dict[str, Any]) -> dict[str, Any]:
    """Those fields of a flat config that a run keeps from its first start on."""
    # a cosine over another length would have had other rates from the first step on
    bound = [f"{job}.num_steps" for job in ("train", "assessor_training") if fields.get(f"{job}.schedule") == "cosine"]
    free = [field for field in FREE if field not in bound]
    return {name: value for name, value in fields.items() if name not in free and not name.startswith(FREE_GROUPS)}


def refuse_other_facts(header: pathlib.Path, facts: dict[str, Any], field: str) -> dict[str, Any]:
    """A folder of results is gone on with under the facts that it was made with; what its header says, {} without one.

    Args:
        header: a JSON file in the folder.
        facts: what must be the same.
        field: where the user names the folder.

    Raises:
        InputError: a fact differs, or the header is damaged.
    """
    if not header.exists():
        return {}
    try:
        known = read_json(header)
    except (OSError, ValueError) as error:
        raise InputError(header, f"is damaged ({error})", f"choose another {field}") from error
    if differing := [name for name in facts if known.get(name) != facts[name]]:
        what = f"was made with another {' and '.join(differing)}"
        raise InputError(header.parent, what, f"choose another {field}")
    return known


def git_revision() -> str:
    """Of the source tree; empty outside a checkout."""
    folder = pathlib.Path(__file__).parent
    try:
        command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
