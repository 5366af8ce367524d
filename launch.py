"""latentjax: learn, measure and show directions in the latent space of a GAN.

    python launch.py --config=configs/demo.py --workdir=runs/demo                  learns, then evaluates
    python launch.py --job=evaluate --config=configs/demo.py --workdir=runs/demo   evaluates what was learned
    python launch.py --job=evaluate --config=configs/demo.py:compare --workdir=runs/demo   beside other ways
    python launch.py --job=generate --config=configs/demo.py --workdir=runs/demo   makes images of sampled latents
    python launch.py --job=animate --config=configs/demo.py --workdir=runs/demo    films along alpha, or between latents
    python launch.py --job=explore --config=configs/demo.py --workdir=runs/demo    a map of latents, and directions
    python launch.py --job=train_assessor --config=configs/assessor.py --workdir=runs/mine --config.data.images=FOLDER
    python launch.py --job=prepare ...    only makes the data set of that
    python launch.py --job=paper --config=configs/miniature.py --workdir=runs/miniature    the whole paper in miniature
    python launch.py --job=plan --config=configs/creativity.py --config.plan.topology=v5e:2x4    compiles, runs nothing

Any field of the config is set with --config.FIELD=VALUE, for example --config.train.num_steps=500; configs/default.py
lists and explains them. Several processes share a job where a TPU slice, srun or mpirun has several, or where each is
given --coordinator_address=HOST:PORT --num_processes=N --process_id=I (or JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES,
JAX_PROCESS_ID). Exit codes: 0 done; 2 wrong input (one line says what); 75 stopped by SIGTERM, Ctrl-C or a closed
terminal, or because another process was lost: the same command goes on; 1 a bug.
"""

import argparse
import importlib
import sys
import time
import traceback

from absl import logging

from configs import default
from latentjax import command_line, config_checks, starts
from latentjax import config as configs
from latentjax.errors import InputError

JOBS = ("train", "evaluate", "generate", "animate", "explore", "prepare", "train_assessor", "paper", "plan")


def parse(arguments: list[str]) -> tuple[argparse.Namespace, configs.ConfigDict]:
    """Flags and the resolved config.

    Raises:
        InputError: an unknown flag, field, job or variant, a positional word, or a value of the wrong type.
    """
    parser = command_line.Parser(
        "python launch.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", help="a config file, with variants after a colon (default: that of the workdir)")
    parser.add_argument("--workdir", help="the run folder: made, or gone on with; --job=plan needs none")
    parser.add_argument("--job", choices=JOBS, default="train", help="what to do (default: train)")
    parser.add_argument("--coordinator_address", metavar="HOST:PORT", help="of process 0, where several share the job")
    parser.add_argument("--num_processes", metavar="N", help="how many they are")
    parser.add_argument("--process_id", metavar="I", help="which of them this is, from 0")
    flags, rest = parser.parse_known_args(arguments)
    if flags.workdir is None and flags.job != "plan":
        raise InputError("--workdir", "is missing", "see python launch.py --help")
    if flags.config is None:
        config = configs.of_run(flags.workdir or "", default.get_config())
    else:
        config = configs.load(flags.config)
        configs.check_fields(config, default.get_config())
    while rest:
        name, has_value, value = rest.pop(0).partition("=")
        if not name.startswith("--config."):
            near = "flags are --config, --workdir, --job, --debug and --config.FIELD=VALUE (and others: --help)"
            raise InputError(name, "is not a flag", near)
        if not has_value:
            if not rest or rest[0].startswith("--"):
                raise InputError(name, "has no value", f"write {name}=VALUE")
            value = rest.pop(0)
        configs.override(config, name.removeprefix("--config."), value)
    config_checks.check(config)
    return flags, config


def run(arguments: list[str]) -> None:
    """Runs one job.

    Raises:
        InputError: the arguments are wrong, or what they name.
    """
    starts.launched = began = time.time()
    flags, config = parse(arguments)
    from latentjax import heartbeat, processes  # these import JAX: --help need not wait for it

    processes.join({name: getattr(flags, name) for name in processes.FLAGS}, config.platform, flags.job)
    try:
        did = importlib.import_module(f"latentjax.jobs.{flags.job}").run(config, flags.workdir)
    except InputError as error:
        processes.refuse(error)
    except processes.BROKEN as error:
        processes.refuse_unless_lost(error)
    else:
        if flags.job != "plan":
            took = heartbeat.lasting(time.time() - began)
            logging.info("done: %s: %s, in %s, %s", flags.job, did, flags.workdir, took)


def main() -> int:
    """Returns the exit code, see the module's docstring."""
    try:
        code = command_line.run(run)
    except Exception:
        traceback.print_exc()
        code = 1
    if processes := sys.modules.get("latentjax.processes"):
        processes.leave(code)
    return code


if __name__ == "__main__":
    command_line.process(main)
