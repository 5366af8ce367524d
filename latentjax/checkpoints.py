"""The state of a run on disk, through Orbax: the latest and the best, restored exactly or refused."""

import hashlib
import math
import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint import checkpoint_managers

from latentjax.errors import InputError


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


class LowestLoss(checkpoint_managers.PreservationPolicy):
    """Keeps the step with the lowest loss, the newest of equals; unlike Orbax's own it survives an unreadable loss."""

    def __init__(self) -> None:
        self.losses: dict[int, float] = {}

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        steps = [checkpoint.step for checkpoint in checkpoints]
        best = min(steps, key=lambda step: (self.losses.get(step, math.inf), -step), default=None)
        return [step == best for step in steps]


class Checkpoints:
    """Saves in the background and keeps the latest `keep` steps and the one with the lowest loss.

    Args:
        folder: local, absolute or relative, or gs://.
        keep: how many of the latest steps stay.

    Raises:
        InputError: the folder cannot be made, or is none.
    """

    def __init__(self, folder: str | os.PathLike, keep: int):
        self.folder = str(folder) if "://" in str(folder) else os.path.abspath(folder)
        self._best = LowestLoss()
        self._unreadable: list[int] = []
        options = ocp.CheckpointManagerOptions(
            best_fn=lambda metrics: metrics["loss"],  # without it Orbax writes no metrics
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(
                [checkpoint_managers.LatestN(keep), self._best]
            ),
            lightweight_initialize=True,  # else one damaged loss stops it
        )
        # the handler is named because a new process could otherwise not tell what a step holds
        handler = ocp.StandardCheckpointHandler()
        try:
            self._manager = ocp.CheckpointManager(self.folder, item_handlers=handler, options=options)
        except (OSError, ValueError) as error:
            what = f"cannot hold checkpoints ({(str(error).splitlines() or [type(error).__name__])[0]})"
            raise InputError(self.folder, what, "set --config.checkpoints.folder to a folder you can write") from error
        for step in self._manager.all_steps():
            self._best.losses[step] = self._loss_of(step)

    def save(self, step: int, state: Any, loss: float) -> None:
        """Starts saving a step newer than all that could be read; the caller may go on and may donate `state`."""
        while self._unreadable:
            # they would stay the newest, and be in the way of what is learned again
            self._manager.delete(self._unreadable.pop())
        self._best.losses[step] = loss
        leaves = sized(named_leaves(state))
        record = {"loss": loss, "sha256": digest(leaves)}
        self._manager.save(step, args=ocp.args.StandardSave(leaves), metrics=record)

    def latest(self) -> int | None:
        """The newest saved step."""
        return self._manager.latest_step()

    def close(self) -> None:
        """Waits, then frees the manager's threads."""
        self._manager.close()

    def restore(self, template: Any, *, best: bool = False) -> tuple[int, Any] | None:
        """The newest step that can be read and its state, or None when there is none.

        Damaged newer steps are passed over with a warning, and removed at the next `save`.

        Args:
            template: a state of the wanted structure; its shapes, dtypes and shardings are what comes back.
            best: the step with the lowest loss instead, the newest of equals.

        Raises:
            InputError: there are checkpoints, but none can be read.
        """
        reasons: dict[int, str] = {}
        self._manager.wait_until_finished()  # what is still being saved counts
        newest_first = sorted(self._manager.all_steps(), reverse=True)
        order = sorted(newest_first, key=lambda step: self._best.losses[step]) if best else newest_first
        for step in order:
            try:
                state = self._restore(step, template)
            except Exception as error:
                # whatever Orbax throws at a damaged step, the one before may be whole
                reasons[step] = (str(error).splitlines() or [type(error).__name__])[0]
                logging.warning("checkpoint %d in %s cannot be read (%s)", step, self.folder, reasons[step])
            else:
                self._unreadable = list(reasons)
                return step, state
        if reasons:
            newest = max(reasons)
            what = f"has no checkpoint that can be read (step {newest}: {reasons[newest]})"
            raise InputError(self.folder, what, "name another --workdir, or put a good copy there")
        return None

    def _restore(self, step: int, template: Any) -> Any:
        everything = named_leaves(template)
        leaves = sized(everything)
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
        restored = dict(self._manager.restore(step, args=ocp.args.StandardRestore(shapes)))
        if digest(restored) != (self._manager.metrics(step) or {}).get("sha256"):
            raise ValueError("its checksum does not match")
        return jax.tree.unflatten(jax.tree.structure(template), (everything | restored).values())

    def _loss_of(self, step: int) -> float:
        """The loss that a step was saved with; infinite where it cannot be read."""
        try:
            return float((self._manager.metrics(step) or {})["loss"])
        except (OSError, ValueError, TypeError, KeyError):
            return math.inf
