"""The state of a run on disk, through Orbax: the latest and the best, restored exactly or refused."""

import os
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint import checkpoint_managers

from latentjax.errors import InputError


def named_leaves(tree: Any) -> dict[str, Any]:
    """Every leaf of a pytree under the name of its path."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


class Checkpoints:
    """Saves in the background and keeps the latest `keep` steps and the one with the lowest loss.

    Args:
        folder: local, absolute or relative, or gs://.
        keep: how many of the latest steps stay.
    """

    def __init__(self, folder: str | os.PathLike, keep: int):
        folder = str(folder) if "://" in str(folder) else os.path.abspath(folder)
        policies = [
            checkpoint_managers.LatestN(keep),
            checkpoint_managers.BestN(get_metric_fn=lambda metrics: metrics["loss"], reverse=True, n=1),
        ]
        options = ocp.CheckpointManagerOptions(
            best_fn=lambda metrics: metrics["loss"],
            best_mode="min",
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
        )
        self.folder = folder
        self._manager = ocp.CheckpointManager(folder, options=options)

    def save(self, step: int, state: Any, loss: float) -> None:
        """Starts saving; the caller may go on and may donate `state`."""
        if step not in self._manager.all_steps():
            self._manager.save(step, args=ocp.args.StandardSave(named_leaves(state)), metrics={"loss": loss})

    def latest(self) -> int | None:
        """The newest saved step."""
        return self._manager.latest_step()

    def close(self) -> None:
        """Waits, then frees the manager's threads."""
        self._manager.close()

    def restore(self, template: Any) -> tuple[int, Any] | None:
        """The newest step that can be read and its state, or None when there is none.

        Args:
            template: a state of the wanted structure; its shapes, dtypes and shardings are what comes back.

        Raises:
            InputError: there are checkpoints, but none can be read.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            try:
                return step, self._restore(step, template)
            except Exception as error:
                # whatever Orbax throws at a damaged step, the one before may be whole
                logging.warning("checkpoint %d in %s cannot be read (%s)", step, self.folder, _first_line(error))
        if steps:
            raise InputError(self.folder, f"has {len(steps)} checkpoints and none can be read", "use a new workdir")
        return None

    def _restore(self, step: int, template: Any) -> Any:
        leaves = named_leaves(template)
        found = self._manager.item_metadata(step)
        # Orbax would cast and broadcast silently
        described = {name: (tuple(meta.shape), meta.dtype) for name, meta in (found.tree if found else {}).items()}
        expected = {name: (leaf.shape, leaf.dtype) for name, leaf in leaves.items()}
        if described != expected:
            differing = sorted(name for name in described | expected if described.get(name) != expected.get(name))
            raise ValueError(f"other tensors than this run: {', '.join(differing[:3])}")
        shapes = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding) for name, leaf in leaves.items()
        }
        restored = self._manager.restore(step, args=ocp.args.StandardRestore(shapes))
        return jax.tree.unflatten(jax.tree.structure(template), [restored[name] for name in leaves])


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
