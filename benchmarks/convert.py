"""Converting a PyTorch file into a model folder, and loading that, beside loading the file in PyTorch.

    python -m benchmarks.convert --size=512 --json=convert.json

These are different jobs, put side by side for scale: converting reads the file without executing anything in it, folds
the spectral norms, turns the layout and writes a folder with checksums; loading verifies them. torch.load and
load_state_dict copy the file's numbers into a network that is there already. Random weights of the published size.
"""

import pathlib
import shutil
import sys
import tempfile

from benchmarks import command
from benchmarks.random_weights import Files, files
from benchmarks.sides import Side, Task, interleaved
from latentjax import command_line
from latentjax.errors import InputError

SIDES = ("torch", "convert", "load")
COMPARED = {"convert": ("convert", "torch"), "load": ("load", "torch")}


def torch_side(files: Files, threads: int) -> Task:
    """torch.load and load_state_dict of the generator."""
    import torch

    from converters.oracles import biggan

    torch.set_num_threads(threads)
    generator = biggan.BigGAN(files.size, channels=files.channels)

    def run(steps: int) -> None:
        for _ in range(steps):
            generator.load_state_dict(torch.load(files.torch(files.generator), weights_only=True))

    return Task(run)


def convert_side(files: Files, folder: str) -> Task:
    """The PyTorch file into a model folder."""
    import converters

    out = pathlib.Path(folder) / "converted"

    def run(steps: int) -> None:
        for i in range(steps):
            converters.convert(files.torch(files.generator), out / str(i))

    return Task(run, tidy=lambda: shutil.rmtree(out))


def load_side(files: Files) -> Task:
    """The model folder into arrays on the device."""
    import jax

    from latentjax import networks

    jax.config.update("jax_platforms", "cpu")

    def run(steps: int) -> None:
        for _ in range(steps):
            jax.block_until_ready(networks.load_generator(files.generator).state)

    return Task(run)


def main(words: list[str]) -> None:
    """Measures and tells.

    Raises:
        InputError: a flag is wrong, or a side stopped.
    """
    p = command.parser("convert", "Measure conversion and loading beside PyTorch's loading.", SIDES)
    p.add_argument("--size", type=int, choices=(128, 256, 512), default=512)
    chosen = command.parsed(p, words)
    if chosen.device != "cpu":
        raise InputError("--device", f"is {chosen.device}, and files are converted on a CPU", "leave it out")
    with files(chosen.models, chosen.cpus, chosen.size) as made, tempfile.TemporaryDirectory() as folder:
        known = {
            "torch": Side("torch", "benchmarks.convert:torch_side", {"files": made, "threads": chosen.threads}),
            "convert": Side("convert", "benchmarks.convert:convert_side", {"files": made, "folder": folder}),
            "load": Side("load", "benchmarks.convert:load_side", {"files": made}),
        }
        measured = interleaved([known[side] for side in chosen.sides], chosen.cpus, chosen.repeats, chosen.steps)
        megabytes = pathlib.Path(made.torch(made.generator)).stat().st_size / 1e6
    found = command.result(measured, COMPARED, chosen.threads, size=chosen.size, file_megabytes=megabytes)
    title = f"A BigGAN-{chosen.size} file of {megabytes:.0f} MB; converting does more than loading, see the docstring"
    command.told(found, COMPARED, title, chosen.json)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
