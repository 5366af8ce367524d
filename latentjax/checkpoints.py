"""The state of a run on disk, through Orbax: the latest and the best, restored exactly or refused."""

import hashlib
import json
import math
import os
import pathlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint import checkpoint_managers

from latentjax import checkpoint_folder, distributed, preemption, remote
from latentjax import checkpoint_quirks as quirks
from latentjax.errors import InputError, first_line

SHARE = "set --config.checkpoints.folder to one that all share, or to gs://BUCKET/FOLDER"
DAMAGED = "damaged"  # sub-folder of steps that could not be read


def named_leaves(tree: Any) -> dict[str, Any]:
    """Every leaf of a pytree under the name of its path."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def sized(leaves: dict[str, Any]) -> dict[str, Any]:
    """Those with elements: Orbax refuses others, which a generator without classes gives."""
    return {name: leaf for name, leaf in leaves.items() if leaf.size}


def digest(leaves: dict[str, Any]) -> str:
    """A checksum of named arrays: Orbax has none of their bytes."""
    sha = hashlib.sha256()
    for name, leaf in sorted(leaves.items()):
        array = np.asarray(leaf)
        sha.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
    return sha.hexdigest()


class Restored(NamedTuple):
    """A step that was read."""

    step: int
    state: Any
    log: dict[str, Any]  # what `save` was given


class Plan(NamedTuple):
    """A step that can be read, as far as its descriptions tell."""

    record: dict[str, Any]
    shapes: dict[str, Any]


class Checkpoints:
    """Saves in the background and keeps the latest `keep` steps and the one with the lowest loss.

    With several processes all of them take part in every call.

    Args:
        folder: local, absolute or relative, or gs://.
        keep: how many of the latest steps stay.
        identity: what the run is of, such as checksums of its config and weights; kept with every step.

    Raises:
        InputError: the folder cannot be made, or is none.
    """

    def __init__(self, folder: str | os.PathLike, keep: int, identity: dict[str, str] | None = None):
        self.folder = str(folder) if "://" in str(folder) else os.path.abspath(folder)
        self._identity = identity or {}
        self._best = quirks.LowestLoss()
        options = ocp.CheckpointManagerOptions(
            best_fn=lambda metrics: metrics["loss"],  # without it Orbax writes no metrics
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(
                [checkpoint_managers.LatestN(keep), self._best]
            ),
            cleanup_tmp_directories=True,  # what a killed process was at
            lightweight_initialize=True,  # else one damaged loss stops it
        )
        if not remote.is_remote(self.folder):
            with checkpoint_folder.opening(self.folder):
                distributed.refuse_unshared(pathlib.Path(self.folder), SHARE)
        # the handler is named because a new process could otherwise not tell what a step holds
        handler = ocp.StandardCheckpointHandler()
        quirks.quiet_leftovers()
        with preemption.deferred(), checkpoint_folder.opening(self.folder):
            self._manager = ocp.CheckpointManager(self.folder, item_handlers=handler, options=options)
        steps = self._manager.all_steps()
        todo = "run the same command again when all of them see the same checkpoints"
        distributed.refuse_other_input(str(steps), self.folder, todo)
        losses = np.array([self._loss_of(step) for step in steps], np.float64)
        # in halves: JAX has no float64
        losses = distributed.told_by_primary(losses.view(np.uint32)).view(np.float64)
        self._best.losses = dict(zip(steps, losses.tolist(), strict=True))

    def save(self, step: int, state: Any, loss: float, *, log: dict[str, Any] | None = None) -> None:
        """Starts saving a step newer than all before; the caller may go on and may donate `state`.

        Args:
            step, state: of the run.
            loss: what the best is chosen by; infinite: this step is never the best.
            log: what else the run needs to go on from here, JSON.

        Raises:
            InputError: this save or the one before could not be written.
        """
        self._best.losses[step] = loss
        leaves = sized(named_leaves(state))
        record = {"loss": loss, "sha256": digest(leaves), "identity": self._identity, "log": log or {}}
        record["record_sha256"] = _digest_of_record(record)
        with self._told():
            self._manager.save(step, args=ocp.args.StandardSave(leaves), metrics=record)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What a disk or a bucket refuses is told in one line."""
        try:
            with remote.told(self.folder) if remote.is_remote(self.folder) else nullcontext(), quirks.losses_told():
                yield
        except (OSError, ValueError) as error:
            what = f"a checkpoint could not be written ({first_line(error)})"
            todo = "mend that, and run the same command again to go on from the one before"
            raise InputError(self.folder, what, todo) from error

    def latest(self) -> int | None:
        """The newest saved step."""
        return self._manager.latest_step()

    def wait(self) -> None:
        """Until what is being saved is there.

        Raises:
            InputError: it could not be written.
        """
        with preemption.deferred(), self._told():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then frees the manager's threads.

        Raises:
            InputError: what was being saved could not be written.
        """
        with preemption.deferred(), self._told():
            self._manager.close()

    def restore(self, template: Any, *, best: bool = False) -> Restored | None:
        """The newest step that can be read, or None when there is none.

        Damaged newer steps are passed over with a warning and set aside, into the sub-folder `DAMAGED`.

        Args:
            template: a state of the wanted structure; its shapes, dtypes and shardings are what comes back.
            best: the step with the lowest loss instead, the newest of equals.

        Raises:
            InputError: there are checkpoints, but none can be read, or they are another run's.
        """
        self.wait()  # what is still being saved counts
        with preemption.deferred():  # Orbax would take the signal for damage
            return self._first_whole(template, best)

    def _first_whole(self, template: Any, best: bool) -> Restored | None:
        reasons: dict[int, str] = {}
        newest_first = sorted(self._manager.all_steps(), reverse=True)
        order = sorted(newest_first, key=lambda step: self._best.losses[step]) if best else newest_first
        for step in order:
            # in two parts: in the second the processes wait for each other
            plan = self._tried(self._planned, step, template, reasons)
            if plan is not None and (found := self._tried(self._read, step, plan, reasons)) is not None:
                self._set_aside(reasons)
                state = jax.tree.unflatten(jax.tree.structure(template), (named_leaves(template) | found).values())
                return Restored(step, state, plan.record["log"])
        if reasons:
            newest = max(reasons)
            what = f"has no checkpoint that can be read (step {newest}: {reasons[newest]})"
            raise InputError(self.folder, what, "name another --workdir, or put a good copy there")
        return None

    def _tried(self, part: Callable[[int, Any], Any], step: int, given: Any, reasons: dict[int, str]) -> Any:
        """What a part of reading a step gives; None, with a reason, where it fails on any process."""
        found = None
        try:
            found = part(step, given)
        except (InputError, MemoryError, jax.errors.JaxRuntimeError):
            raise
        except Exception as error:
            if refused := checkpoint_folder.unreadable(self.folder, error):
                raise refused from error
            # whatever Orbax throws at a damaged step, the one before may be whole
            reasons[step] = first_line(error)
        if distributed.all_agree(found is not None):
            return found
        reasons.setdefault(step, "another process cannot read it")
        return None

    def _planned(self, step: int, template: Any) -> Plan:
        record = self._record_of(step)
        self._refuse_other_runs(step, record["identity"])
        leaves = sized(named_leaves(template))
        found = self._manager.item_metadata(step)
        if not found:
            raise ValueError("it holds no state")
        # Orbax would cast and broadcast silently
        described = {name: (tuple(meta.shape), meta.dtype) for name, meta in found.tree.items()}
        expected = {name: (leaf.shape, leaf.dtype) for name, leaf in leaves.items()}
        if described != expected:
            differing = sorted(name for name in described | expected if described.get(name) != expected.get(name))
            raise ValueError(f"other tensors than this run's: {', '.join(differing[:3])}")
        shapes = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding) for name, leaf in leaves.items()
        }
        return Plan(record, shapes)

    def _read(self, step: int, plan: Plan) -> dict[str, Any]:
        restored = dict(self._manager.restore(step, args=ocp.args.StandardRestore(plan.shapes)))
        if digest(restored) != plan.record["sha256"]:
            raise ValueError("its checksum does not match")
        return restored

    def _refuse_other_runs(self, step: int, known: dict[str, str]) -> None:
        """A step of another config or other weights is whole, and not this run's."""
        if differing := [name for name, value in self._identity.items() if known.get(name, value) != value]:
            what = f"step {step} was made with another {' and '.join(differing)}"
            raise InputError(self.folder, what, "set --config.checkpoints.folder to a folder of this run alone")

    def _set_aside(self, reasons: dict[int, str]) -> None:
        """Moves steps that cannot be read out of the way of what is learned again."""
        if not reasons:
            return
        for step, reason in reasons.items():
            if distributed.is_primary():
                with self._told():
                    self._move_aside(step)
            where = f"set aside in {self.folder}/{DAMAGED}"
            logging.warning("checkpoint %d in %s cannot be read (%s); %s", step, self.folder, reason, where)
        distributed.wait_for_all("set aside")
        self._manager.reload()

    def _move_aside(self, step: int) -> None:
        aside = self._manager.directory / DAMAGED
        aside.mkdir(parents=True, exist_ok=True)
        # on gs:// a folder is there once something is in it
        (aside / "README.txt").write_text("Checkpoints that could not be read; nothing deletes them.\n")
        taken = {path.name for path in aside.iterdir()}
        free = next(name for i in range(len(taken) + 1) if (name := f"{step}-{i}") not in taken)
        (self._manager.directory / str(step)).rename(aside / free)

    def _record_of(self, step: int) -> dict[str, Any]:
        """What `save` wrote beside the state.

        Raises:
            ValueError: it is damaged, or gone.
        """
        # a folder that may not be listed Orbax would take for an empty one
        list((self._manager.directory / str(step)).iterdir())
        record = dict(self._manager.metrics(step) or {})
        if record.pop("record_sha256", None) != _digest_of_record(record):
            raise ValueError("the checksum of its record does not match")
        return record

    def _loss_of(self, step: int) -> float:
        """The loss that a step was saved with; infinite where it cannot be read."""
        try:
            return float(self._record_of(step)["loss"])
        except Exception as error:  # of several packages, where the folder is on gs://
            if refused := checkpoint_folder.unreadable(self.folder, error):
                raise refused from error
            return math.inf


def _digest_of_record(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
