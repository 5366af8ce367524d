"""The evaluation job: one way of moving latents, or several to compare."""

import jax

from latentjax import distributed
from latentjax.config import ConfigDict
from latentjax.jobs import comparison
from latentjax.jobs.evaluation import Evaluation, folder_of
from latentjax.jobs.kept import transformer_of
from latentjax.jobs.workbench import prepare
from latentjax.run_folder import job


@job
def run(config: ConfigDict, workdir: str) -> str | None:
    """Evaluates what evaluate.method says, or compares what evaluate.runs lists.

    Raises:
        InputError: there is no transformer, or an input is wrong.
    """
    bench = prepare(config, workdir)
    if config.evaluate.runs:
        comparison.run(bench)
        return f"{len(config.evaluate.runs)} runs compared"
    transformer = transformer_of(bench, folder_of(bench))
    step = transformer.source.get("step") if transformer else None
    evaluation, params = Evaluation(bench, transformer), transformer.state if transformer else None
    evaluation.check(params, step)
    bench.create()
    bench.folder.write_run(mesh=dict(bench.mesh.shape))
    evaluation.run(jax.device_put(params, distributed.replicated(bench.mesh)), step)
    return f"{len(evaluation.strips)} strips evaluated"
