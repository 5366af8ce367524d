"""What moves an evaluation's latents, kept beside its pictures: a direction that was fitted is not fitted twice."""

import pathlib
from typing import Any

import jax

from latentjax import distributed, networks, weights
from latentjax.config import ConfigDict
from latentjax.jobs import methods
from latentjax.jobs.samples import Samples
from latentjax.jobs.workbench import Workbench
from latentjax.run_folder import refuse_other_facts

# what a direction that is fitted to samples depends on, beside the run's own config
FITTED = ("arithmetic", "svm", "pca", "sefa")
FITTED_BY = ("method", "seed", "strength", "components", "arithmetic_count", "arithmetic_share")


def keep(folder: pathlib.Path, transformer: networks.LatentTransformer, params: Any) -> None:
    """Keeps what moved the latents beside their pictures: a transformer folder."""
    if not folder.exists():
        arrays = jax.device_get(weights.named(params))
        weights.save(folder, arrays, transformer.kind, transformer.config, transformer.source)


def transformer_of(
    bench: Workbench, folder: pathlib.Path, samples: Samples | None = None
) -> networks.LatentTransformer | None:
    """What evaluate.method says; a direction that was fitted for this folder before is taken from it.

    Processes fit together, so that one which has the direction fits too where another lacks it.

    Args:
        bench: the job's tools.
        folder: of the evaluation.
        samples: what is scored for directions, see `methods.transformer_of`.

    Raises:
        InputError: there is none, or an input is wrong.
    """
    settings = bench.config.evaluate
    if settings.method in FITTED and not settings.plus:
        found = fitted_before(settings, folder)
        if distributed.all_agree(found is not None):
            return found
    return methods.transformer_of(bench, samples=samples)


def fitted_before(settings: ConfigDict, folder: pathlib.Path) -> networks.LatentTransformer | None:
    """The direction that this process finds in an evaluation folder; None where is none, or one of other settings.

    Raises:
        InputError: the folder is damaged.
    """
    header, kept = folder / "evaluation.json", folder / "transformer"
    if not (header.exists() and kept.exists()):
        return None
    known = refuse_other_facts(header, {}, "--config.evaluate.name").get("evaluate")
    same = isinstance(known, dict) and all(known.get(field) == settings[field] for field in FITTED_BY)
    return networks.load_transformer(kept) if same else None
