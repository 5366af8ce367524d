"""Measures what benchmarks/results/ lacks and writes BENCHMARKS.md.

python -m benchmarks                     # what this machine can measure; hours, and it goes on where it stopped
python -m benchmarks --only=report       # only writes
python -m benchmarks --only=cpu --again  # measures anew; the machine should do nothing else
"""

import importlib.util
import shutil
import subprocess
import sys

from benchmarks import report
from benchmarks.compiled import RESULTS, ROOT
from latentjax import command_line
from latentjax.errors import InputError

CPU = {
    "train_step-512": ["train_step", "--size=512", "--batch=2"],
    "train_step-128": ["train_step", "--size=128", "--batch=8"],
    "train_step-256": ["train_step", "--size=256", "--batch=2"],
    "evaluate-128": ["evaluate", "--size=128", "--latents=2"],
    "assessor": ["assessor", "--batch=2"],
    "assessor_training": ["assessor_training"],
    "convert": ["convert"],
    "memory": ["memory"],
    **{f"train_step-128-batch{n}": ["train_step", "--size=128", f"--batch={n}"] for n in (1, 2, 4)},
    "precision-128": ["precision", "--size=128", "--latents=16"],
    "precision-512": ["precision", "--size=512", "--latents=4", "--parts=networks"],
    "forms": ["forms", "--size=128", "--batch=2"],
    "start": ["start"],
}
ON_GPU = ["--device=gpu", "--precision=bfloat16"]
GPU = {
    **{f"train_step-gpu-{size}": ["train_step", *ON_GPU, f"--size={size}", "--batch=32"] for size in (512, 256, 128)},
    "evaluate-gpu-512": ["evaluate", *ON_GPU, "--size=512", "--latents=32", "--batch=8"],
    "forms-gpu": ["forms", *ON_GPU, "--size=512", "--batch=32"],
}


def measure(name: str, words: list[str]) -> None:
    """Runs one benchmark in a process of its own.

    Raises:
        InputError: it failed.
    """
    print("+", " ".join(["python -m", f"benchmarks.{words[0]}", *words[1:]]), flush=True)
    ran([*words, f"--json={RESULTS / name}.json"])


def ran(words: list[str]) -> None:
    """Runs a module of this package.

    Raises:
        InputError: it failed.
    """
    module, *flags = words
    if subprocess.run([sys.executable, "-m", f"benchmarks.{module}", *flags], cwd=ROOT).returncode:
        raise InputError(f"benchmarks.{module}", "failed", "see above")


def main(words: list[str]) -> None:
    """Measures, and writes.

    Raises:
        InputError: a flag is wrong, or a benchmark failed.
    """
    parser = command_line.Parser("python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=("cpu", "gpu", "tpu", "report"), help="a part (default: all that can run)")
    parser.add_argument("--again", action="store_true", help="also what is there already")
    chosen = parser.parse_args(words)
    RESULTS.mkdir(exist_ok=True)
    groups = {"cpu": CPU} | ({"gpu": GPU} if chosen.only == "gpu" or shutil.which("nvidia-smi") else {})
    for group, benchmarks in groups.items():
        for name, flags in benchmarks.items():
            if chosen.only in (None, group) and (chosen.again or not (RESULTS / f"{name}.json").exists()):
                measure(name, flags)
    if chosen.only == "tpu" or (chosen.only is None and importlib.util.find_spec("libtpu")):
        ran(["compiled"])
    report.write()
    print("BENCHMARKS.md is written")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
