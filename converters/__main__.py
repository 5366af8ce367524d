"""python -m converters SOURCE DESTINATION: a PyTorch checkpoint becomes a latentjax model folder."""

import argparse
import collections
import sys
from typing import NoReturn

from converters import KINDS, convert, infer_kind, torch_file
from latentjax.assessors.efficientnet import PADDINGS
from latentjax.errors import InputError
from latentjax.transformers import RENORMS


class Parser(argparse.ArgumentParser):
    """Argument errors in the house's one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError("arguments", message, "see python -m converters --help")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = Parser(
        prog="python -m converters",
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
    p.add_argument("--debug", action="store_true", help="show tracebacks")
    return p


def inspect(source: str) -> None:
    """Prints format, architecture and tensors of a file."""
    file = torch_file.read(source)
    state = torch_file.state_dict(file)
    try:
        kind = infer_kind(state, source)
    except InputError:
        kind = "unknown to latentjax"
    what = file.root.cls if isinstance(file.root, torch_file.Stub) else "state dict"
    dtypes = collections.Counter(str(array.dtype) for array in state.values())
    print(f"{source}: {file.format} format, {what}, sha256 {file.sha256}")
    print(f"architecture: {kind}")
    print(f"{len(state)} tensors, {sum(a.size for a in state.values()):,} numbers ({dict(dtypes)})")
    for name, array in state.items():
        print(f"  {name:60} {array.dtype!s:9} {list(array.shape)}")


def run(args: argparse.Namespace) -> None:
    """Inspects or converts."""
    if args.inspect:
        inspect(args.source)
        return
    if args.destination is None:
        raise InputError("arguments", "no destination folder given", "see python -m converters --help")
    names = ("num_classes", "padding", "bn_epsilon", "class_reg", "renorm")
    done = convert(args.source, args.destination, args.kind, **{name: getattr(args, name) for name in names})
    print(f"{args.destination}: {done['kind']} {done['config']}, {done['weights']:,} weights")


def main() -> int:
    """Exit code 0; 2 for bad input."""
    debug = "--debug" in sys.argv
    try:
        run(parser().parse_args())
    except InputError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
