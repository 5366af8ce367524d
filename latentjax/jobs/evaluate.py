"""The evaluation job: one way of moving latents, or several to compare."""

from latentjax import distributed
from latentjax.config import ConfigDict
from latentjax.jobs import comparison, methods
from latentjax.jobs.evaluation import Evaluation, folder_of
from latentjax.jobs.kept import FITTED, transformer_of
from latentjax.jobs.sweep import Measures
from latentjax.jobs.workbench import prepare
from latentjax.run_folder import job


@job
def run(config: ConfigDict, workdir: str) -> str | None:
    """Evaluates what evaluate.method says, or compares what evaluate.runs lists.

    Raises:
        InputError: there is no transformer, or an input is wrong.
    """
    bench = prepare(config, workdir, fits=True)
    if config.evaluate.runs:
        comparison.run(bench)
        return f"{len(config.evaluate.runs)} runs compared"
    measures = Measures(bench)
    if config.evaluate.method in FITTED:  # one direction without noise, as is known before it is fitted
        methods.check_noise_seeds(config.evaluate.noise_seeds, None, "config.evaluate.noise_seeds")
        methods.directions_of(config.evaluate.directions, None)
    transformer = transformer_of(bench, folder_of(bench))
    step = transformer.source.get("step") if transformer else None
    evaluation, params = Evaluation(bench, transformer, measures), transformer.state if transformer else None
    evaluation.check(params, step)
    bench.create()
    bench.folder.write_run(mesh=dict(bench.mesh.shape))
    made = evaluation.run(distributed.placed(params, distributed.replicated(bench.mesh)), step)
    there = len(evaluation.strips) * len(evaluation.directions) - made
    return f"{made} strips made" + (f", {there} were there before" if there else "")
