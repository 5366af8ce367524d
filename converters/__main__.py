"""python -m converters SOURCE DESTINATION: a PyTorch checkpoint becomes a latentjax model folder."""

import argparse
import collections
import sys

from converters import KINDS, convert, infer_kind, torch_file
from latentjax import command_line
from latentjax.assessors.efficientnet import PADDINGS
from latentjax.errors import InputError
from latentjax.transformers import RENORMS

OPTIONS = ("num_classes", "padding", "bn_epsilon", "class_reg", "renorm")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = command_line.Parser(
        "python -m converters",
        description="Convert a PyTorch checkpoint (BigGAN, EfficientNet, DCGAN or a trained transformer) to a "
        "latentjax model folder. No PyTorch is needed, and nothing in the file is executed.",
        epilog="example: python -m converters biggan-512.pth weights/biggan512",
    )
    p.add_argument("source", help="the .pth file")
    p.add_argument("destination", nargs="?", help="the folder to make")
    p.add_argument("--inspect", action="store_true", help="print what is in the file; convert nothing")
    p.add_argument("--kind", choices=sorted(KINDS), help="insist on an architecture (default: by the keys)")
    p.add_argument("--num-classes", type=int, help="DCGAN: how many inputs are classes; one direction: K")
    p.add_argument("--padding", choices=PADDINGS, help="EfficientNet state dict: how its convolutions pad")
    p.add_argument("--bn-epsilon", type=float, help="EfficientNet state dict: epsilon of its norms (default 1e-3)")
    p.add_argument("--class-reg", type=float, help="transformer: what divides D_y (default 1000)")
    p.add_argument("--renorm", choices=RENORMS, help="transformer: how z' is rescaled (default batch, as published)")
    return p


def inspect(source: str) -> None:
    """Prints format, architecture and tensors of a file.

    Raises:
        InputError: it cannot be read, or holds no tensors.
    """
    file = torch_file.read(source)
    state = torch_file.state_dict(file)
    try:
        kind = infer_kind(state, source)
    except InputError:
        kind = "unknown to latentjax"
    what = file.root.cls if isinstance(file.root, torch_file.Stub) else "state dict"
    dtypes = collections.Counter(str(array.dtype) for array in state.values())
    counts = ", ".join(f"{count} {dtype}" for dtype, count in dtypes.items())
    lines = [
        f"{source}: {file.format} format, {what}, sha256 {file.sha256}",
        f"architecture: {kind}",
        f"{len(state)} tensors ({counts}), {sum(a.size for a in state.values()):,} numbers",
        *(f"  {name:60} {array.dtype!s:9} {list(array.shape)}" for name, array in state.items()),
    ]
    for line in lines:
        print(command_line.printable(line))


def run(arguments: list[str]) -> None:
    """Inspects or converts.

    Raises:
        InputError: the arguments are wrong, or what they name.
    """
    args = parser().parse_args(arguments)
    options = {name: getattr(args, name) for name in OPTIONS}
    if args.inspect:
        if args.destination is not None or args.kind or any(value is not None for value in options.values()):
            raise InputError("--inspect", "converts nothing", "give it a file and nothing else")
        inspect(args.source)
        return
    if args.destination is None:
        raise InputError("destination", "is missing", "name the folder to make")
    done = convert(args.source, args.destination, args.kind, **options)
    print(f"{args.destination}: {done['kind']} {done['config']}, {done['parameters']:,} parameters")


def main() -> int:
    """Returns the exit code: 0, or 2 for bad input."""
    return command_line.run(run)


if __name__ == "__main__":
    sys.exit(main())
