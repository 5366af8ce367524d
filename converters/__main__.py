"""python -m converters SOURCE DESTINATION: a PyTorch checkpoint becomes a latentjax model folder.

python -m converters --export FOLDER FILE.pth: a learned transformer becomes a checkpoint of the published code.
"""

import argparse
import collections
import sys

from converters import DTYPES, convert, export, infer_kind, opened, torch_file
from latentjax import command_line
from latentjax.assessors.efficientnet import PADDINGS
from latentjax.assessors.outputs import OUTPUTS
from latentjax.errors import InputError
from latentjax.generators.biggan_deep import COMPATS
from latentjax.transformers import RENORMS

OPTIONS = ("num_classes", "padding", "bn_epsilon", "output", "output_class", "class_reg", "renorm", "compat", "dtype")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = command_line.Parser(
        "python -m converters",
        description="Convert a PyTorch checkpoint (BigGAN, EfficientNet, DCGAN or a trained transformer) to a "
        "latentjax model folder, or with --export a learned transformer to a PyTorch state dict that the published "
        "code loads. No PyTorch is needed, and nothing in the file is executed.",
        epilog="examples: python -m converters biggan-512.pth weights/biggan512; "
        "python -m converters --export runs/creativity transformer.pth",
    )
    p.add_argument(
        "source",
        help="the .pth or .safetensors file, or a folder from Hugging Face; with --export a run or transformer folder",
    )
    p.add_argument("destination", nargs="?", help="the folder to make; with --export the .pth file to write")
    p.add_argument("--inspect", action="store_true", help="print what is in the file; convert nothing")
    p.add_argument("--export", action="store_true", help="write a transformer for the published code")
    p.add_argument("--kind", help="insist on an architecture, or on a transformer's kind (default: by keys and shapes)")
    p.add_argument("--num-classes", type=int, help="DCGAN: how many inputs are classes; transformer: C (default 1000)")
    p.add_argument("--padding", choices=PADDINGS, help="EfficientNet state dict: how its convolutions pad")
    p.add_argument("--bn-epsilon", type=float, help="EfficientNet state dict: epsilon of its norms (default 1e-3)")
    p.add_argument("--output", choices=OUTPUTS, help="EfficientNet: what its score is (default softmax)")
    p.add_argument("--output-class", type=int, help="EfficientNet: which class is scored (default: 1 of 2)")
    p.add_argument("--class-reg", type=float, help="transformer: what divides D_y (default 1000)")
    p.add_argument("--compat", choices=COMPATS, help="BigGAN-deep: mix its norms' statistics as that port does")
    p.add_argument("--renorm", choices=RENORMS, help="transformer: how z' is rescaled (default batch, as published)")
    p.add_argument("--dtype", choices=DTYPES, help="of the weights written (default float32); float16 rounds them")
    return p


def inspect(source: str) -> None:
    """Prints format, architecture and tensors of a file.

    Raises:
        InputError: it cannot be read, or holds no tensors.
    """
    file, known, prefix = opened(source)
    state = torch_file.state_dict(file)
    try:
        kind = infer_kind(known, source) + f" under the prefix {prefix!r}" * bool(prefix)
    except InputError:
        kind = "unknown to latentjax"
    what = file.root.cls if isinstance(file.root, torch_file.Stub) else "state dict"
    dtypes = collections.Counter(str(array.dtype) for array in state.values())
    counts = ", ".join(f"{count} {dtype}" for dtype, count in dtypes.items())
    lines = [
        f"{file.path}: {file.format} format, {what}, sha256 {file.sha256}",
        f"architecture: {kind}",
        f"{len(state)} tensors ({counts}), {sum(a.size for a in state.values()):,} numbers",
        *(f"  {name:60} {array.dtype!s:9} {list(array.shape)}" for name, array in state.items()),
    ]
    for line in lines:
        print(command_line.printable(line))


def run(arguments: list[str]) -> None:
    """Inspects, exports or converts.

    Raises:
        InputError: the arguments are wrong, or what they name.
    """
    args = parser().parse_args(arguments)
    options = {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}
    told = args.kind is not None or bool(options)
    if args.inspect:
        if args.destination is not None or args.export or told:
            raise InputError("--inspect", "converts nothing", "give it a file and nothing else")
        inspect(args.source)
        return
    if args.destination is None:
        place = "file to write" if args.export else "folder to make"
        raise InputError("destination", "is missing", f"name the {place}")
    if args.export:
        if told:
            raise InputError("--export", "has no settings", "give it a folder, a file and nothing else")
        done = export(args.source, args.destination)
        print(
            f"{args.destination}: {done['kind']}; class_reg {done['class_reg']:g} and renorm {done['renorm']} are not "
            "in it (the published script has 1000 and batch)"
        )
        if not done["fits"]:
            print(f"its noise of {done['noise_dims']} entries for z and y is not what the published script makes")
        if done["flags"]:
            print(f"to convert it back, add {' '.join(done['flags'])}")
        return
    done = convert(args.source, args.destination, args.kind, **options)
    print(f"{args.destination}: {done['kind']} {done['config']}, {done['parameters']:,} parameters")


def main() -> int:
    """Returns the exit code: 0, or 2 for bad input."""
    return command_line.run(run)


if __name__ == "__main__":
    sys.exit(main())
