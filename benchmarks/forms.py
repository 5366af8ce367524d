"""The training step with one layer's form changed at a time, beside the device's default forms.

    python -m benchmarks.forms --size=128 --batch=2 --json=forms.json

The same program but for what a row names; see `latentjax.forms`. Random weights.
"""

import sys
import tempfile

from benchmarks import command
from benchmarks.random_weights import files
from benchmarks.sides import Side, interleaved
from latentjax import command_line
from latentjax.forms import FORMS

DEFAULT = "default"
# fields of `Forms` that differ from the device's
CHANGED: dict[str, dict[str, str]] = {
    DEFAULT: {},
    "plain": FORMS["plain"]._asdict(),
    "upsampled before its convolution": {"upsample_conv": "plain"},
    "dilated": {"upsample_conv": "transposed", "transposed": "dilated", "transposed_gradient": "dilated"},
    "its gradient as XLA derives it": {
        "upsample_conv": "transposed",
        "transposed": "phase",
        "transposed_gradient": "phase",
    },
    "four phases": {"upsample_conv": "transposed", "transposed": "phases", "transposed_gradient": "phases"},
    "shortcut after the upsampling": {"shortcut": "after"},
    "depthwise grouped": {"depthwise": "grouped"},
    "depthwise as shifted products": {"depthwise": "shifted"},
    "small maps as convolutions": {"conv": "plain"},
    "resize in blocks": {"resize": "blocks"},
    "attention whole": {"attention": "whole"},
}


def main(words: list[str]) -> None:
    """Measures and tells.

    Raises:
        InputError: a flag is wrong, or a side stopped.
    """
    names = [name.replace(" ", "-") for name in CHANGED]
    p = command.parser("forms", "Measure the training step with one layer's form changed at a time.", names)
    p.add_argument("--size", type=int, choices=(128, 256, 512), default=128)
    p.add_argument("--batch", type=int, default=2, help="latents a step (default 2)")
    p.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    chosen = command.parsed(p, words)
    changes = dict(zip(names, CHANGED.values(), strict=True))
    default = FORMS[chosen.device]
    # a form that is the default's own would be measured twice
    told = [n for n in chosen.sides if n == DEFAULT or default._replace(**changes[n]) != default]
    with files(chosen.models, chosen.cpus, chosen.size) as made, tempfile.TemporaryDirectory() as folder:
        shared = {
            "files": made,
            "device": chosen.device,
            "threads": chosen.threads,
            "forms": chosen.device,
            "precision": chosen.precision,
            "batch": chosen.batch,
            "alphas": 1,
        }
        sides = [
            Side(name, "benchmarks.ours:train_step", shared | {"folder": f"{folder}/{name}", "changed": changes[name]})
            for name in told
        ]
        measured = interleaved(sides, chosen.cpus, chosen.repeats, chosen.steps)
    compared = {name: (name, DEFAULT) for name in told if name != DEFAULT}
    settings = {name: getattr(chosen, name) for name in ("size", "batch", "precision", "device")}
    found = command.result(measured, compared, chosen.threads, **settings)
    title = f"A training step at {chosen.size} pixels, batch {chosen.batch}, in other forms than {chosen.device}'s"
    command.told(found, compared, title, chosen.json)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
