"""Memory of one training step at 512 pixels, batch 256, on one device, by its micro-batches; nothing runs.

    python -m benchmarks.memory --json=memory.json

Compiled for the CPU in the forms of a GPU and in float32: a GPU's compiler may need a little more or less for its
scratch, and bfloat16 about half.
"""

import pathlib
import sys

from tqdm import tqdm

from benchmarks import command
from latentjax import command_line
from latentjax.files import write_json

SIZE, BATCH = 512, 256
MICRO_BATCHES = (1, 8, 32)


def main(words: list[str]) -> None:
    """Compiles and tells.

    Raises:
        InputError: a flag is wrong.
    """
    parser = command_line.Parser("python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--json", type=pathlib.Path, help="a file for the numbers")
    chosen = parser.parse_args(words)
    command.check_numbers_and_json(chosen)
    import jax

    from configs import creativity
    from latentjax import distributed, forms
    from latentjax.jobs import plan

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_default_matmul_precision", "highest")
    config = creativity.get_config(f"biggan{SIZE}")
    config.precision, config.train.batch_size = "float32", BATCH
    found = {}
    for parts in tqdm(MICRO_BATCHES, unit=" programs"):
        config.train.micro_batches = parts
        with forms.using("gpu"):
            planned = plan.compiled(config, distributed.data_mesh(jax.devices()[:1]))
        assert planned is not None  # a CPU's compiler knows no limit
        # without what a CPU's runtime needs beside the compiler's temporaries
        found[str(parts)] = (planned.arguments + planned.temporaries / plan.ON_CPU) / plan.GIB
    for parts, gib in found.items():
        print(f"{SIZE} pixels, batch {BATCH} in {parts:>2} micro-batches: {gib:6.1f} GiB")
    if chosen.json:
        write_json(chosen.json, {"size": SIZE, "batch": BATCH, "gib_by_micro_batches": found})


if __name__ == "__main__":
    sys.exit(command_line.run(main))
