"""python -m converters SOURCE DESTINATION: a PyTorch checkpoint becomes a latentjax model folder.

python -m converters --inspect FILE: what is in a file is shown, and nothing is converted.
python -m converters --prove FILE [FOLDER]: our network beside PyTorch's on this very file, with a certificate.
python -m converters --export FOLDER FILE.pth: a learned transformer becomes a checkpoint of the published code.
python -m converters --fetch NAME [FOLDER]: a published checkpoint is downloaded, and converted where a folder is named.
"""

import argparse
import collections
import itertools
import os
import sys
from typing import Any

from converters import convert, export, fetch, opened, prove, torch_file
from converters.efficientnet import PREPROCESSINGS
from converters.kinds import DTYPES, SETTINGS, check_options, infer_kind
from latentjax import command_line
from latentjax.assessors.efficientnet import PADDINGS
from latentjax.assessors.outputs import OUTPUTS
from latentjax.errors import InputError
from latentjax.files import refuse_existing
from latentjax.generators.biggan_deep import COMPATS
from latentjax.transformers import RENORMS

OPTIONS = (*SETTINGS, "dtype")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = command_line.Parser(
        "python -m converters",
        description="Convert a PyTorch checkpoint (BigGAN, DCGAN, EfficientNet, ResNet or a trained transformer) to a "
        "latentjax model folder, or with --export a learned transformer to a PyTorch state dict that the published "
        "code loads. No PyTorch is needed, and nothing in the file is executed.",
        epilog="examples: python -m converters biggan-512.pth weights/biggan512; "
        "python -m converters --inspect biggan-512.pth; "
        "python -m converters --prove biggan-512.pth weights/biggan512; "
        "python -m converters --export runs/creativity transformer.pth; "
        "python -m converters --fetch biggan-512 weights/biggan512",
    )
    p.add_argument(
        "source",
        nargs="?",
        help="the .pth or .safetensors file, or a folder from Hugging Face; with --export a run or transformer folder; "
        "with --fetch the folder to make",
    )
    p.add_argument("destination", nargs="?", help="the folder to make; with --export the .pth file to write")
    p.add_argument("--inspect", action="store_true", help="print what is in the file; convert nothing")
    p.add_argument(
        "--prove", action="store_true", help="compare with PyTorch on this very file; [FOLDER]: that was made of it"
    )
    p.add_argument("--export", action="store_true", help="write a transformer for the published code")
    p.add_argument(
        "--fetch",
        metavar="NAME",
        help=f"download published weights into the cache, one of {', '.join(fetch.PUBLISHED)}",
    )
    p.add_argument("--kind", help="insist on an architecture, or on a transformer's kind (default: by keys and shapes)")
    p.add_argument("--num-classes", type=int, help="DCGAN: how many inputs are classes; transformer: C (default 1000)")
    p.add_argument("--padding", choices=PADDINGS, help="EfficientNet state dict: how its convolutions pad")
    p.add_argument("--bn-epsilon", type=float, help="EfficientNet state dict: epsilon of its norms (default: as known)")
    p.add_argument(
        "--preprocessing",
        choices=tuple(PREPROCESSINGS),
        help="EfficientNet, ResNet: mean and deviation of its images' channels",
    )
    p.add_argument(
        "--image-size",
        type=int,
        help="EfficientNet, ResNet: pixels to which images are scaled (default: its own; ResNet: 224)",
    )
    p.add_argument("--output", choices=OUTPUTS, help="EfficientNet, ResNet: what its score is (default softmax)")
    p.add_argument("--output-class", type=int, help="EfficientNet, ResNet: which class is scored (default: 1 of 2)")
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


def download(name: str, destination: str | None) -> str:
    """Fetches published weights, tells what there is to know of them, and gives their file.

    Raises:
        InputError: they cannot be had, or the destination is there already.
    """
    if destination is not None:
        refuse_existing(destination)
    fetched = fetch.fetch(name, destination)
    for path, sha256 in fetched.sha256.items():
        print(f"{path}: sha256 {sha256}")
    for remark in fetched.remarks:
        print(f"note: {remark}")
    return str(fetched.weights)


def certify(source: str, folder: str | None, kind: str | None, options: dict[str, Any]) -> bool:
    """Proves a file, tells the figures and writes them down; whether it passed.

    Raises:
        InputError: it cannot be proven, or the certificate cannot be written.
    """
    names = itertools.chain(["certificate.json"], (f"certificate-{number}.json" for number in itertools.count(2)))
    place = next(name for name in names if not os.path.lexists(name))
    print(f"proving {source} beside PyTorch, in float32 and float64; some minutes at most", file=sys.stderr, flush=True)
    # awake while they wait for one another, PyTorch's threads take a hundred times as long on a busy machine
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    found = prove(source, folder, kind, place=place, **options)
    print(f"{'largest error':24} {'float32':>9} {'PyTorch':>9} {'allowed':>9} {'float64':>9} {'allowed':>9}")
    columns = ("float32", "pytorch_float32", "allowed_float32", "float64", "allowed_float64")
    for row in found["figures"]:
        figures = " ".join(f"{'none' if row[name] is None else format(row[name], '.1e'):>9}" for name in columns)
        print(f"{row['quantity']:24} {figures} {'' if row['passed'] else ' FAILED'}")
    where = place if folder is None else f"{place} and {folder}/model.json"
    print(f"read {found['read']}")
    print(f"{found['file']} ({found['sha256'][:12]}): {'proven' if found['passed'] else 'NOT proven'}; see {where}")
    return found["passed"]


def write_checkpoint(folder: str, file: str) -> None:
    """Exports a transformer and tells what its file does not hold.

    Raises:
        InputError: no transformer, or the file cannot be written.
    """
    done = export(folder, file)
    print(
        f"{file}: {done['kind']}; class_reg {done['class_reg']:g} and renorm {done['renorm']} are not "
        "in it (the published script has 1000 and batch)"
    )
    if not done["fits"]:
        print(f"its noise of {done['noise_dims']} entries for z and y is not what the published script makes")
    if done["flags"]:
        print(f"to convert it back, add {' '.join(done['flags'])}")


def check(args: argparse.Namespace, told: bool) -> None:
    """Refuses what does not go together.

    Raises:
        InputError: naming the flag.
    """
    others = sum((args.inspect, args.export, args.prove))
    if others > 1:
        raise InputError("--inspect, --export, --prove", "do not go together", "give one of them")
    if args.fetch is not None and (others or args.destination is not None or (told and args.source is None)):
        what = "takes a name, and where it is to be converted a folder and settings"
        raise InputError("--fetch", what, "leave the rest out")
    if args.fetch is None and args.source is None:
        raise InputError("source", "is missing", "see python -m converters --help")
    if args.inspect and (args.destination is not None or told):
        raise InputError("--inspect", "converts nothing", "give it a file and nothing else")
    if args.prove and args.dtype is not None:
        raise InputError("--dtype", "rounds the weights, and --prove proves those of the file", "leave it out")
    if args.export and told:
        raise InputError("--export", "has no settings", "give it a folder, a file and nothing else")
    if args.destination is None and args.fetch is None and not (args.inspect or args.prove):
        place = "file to write" if args.export else "folder to make"
        raise InputError("destination", "is missing", f"name the {place}")


def run(arguments: list[str]) -> None:
    """Fetches, inspects, proves, exports or converts.

    Raises:
        InputError: the arguments are wrong, or what they name.
        SystemExit: a file was not proven.
    """
    args = parser().parse_args(arguments)
    options = {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}
    check(args, args.kind is not None or bool(options))
    if args.fetch is not None:
        check_options(args.kind, {name: getattr(args, name) for name in OPTIONS})  # before it downloads
        args.source, args.destination = download(args.fetch, args.source), args.source
        if args.destination is None:
            print(f"to convert it: {fetch.command(args.fetch)}")
            return
    if args.inspect:
        inspect(args.source)
    elif args.prove:
        if not certify(args.source, args.destination, args.kind, options):
            raise SystemExit(1)
    elif args.export:
        write_checkpoint(args.source, args.destination)
    else:
        done = convert(args.source, args.destination, args.kind, **options)
        line = f"{args.destination}: {done['kind']} {done['config']}, {done['parameters']:,} parameters"
        print(command_line.printable(line))


def main() -> int:
    """Returns the exit code: 0, 1 for a file that is not proven, 2 for bad input, or 75 when stopped by Ctrl-C."""
    return command_line.run(run)


if __name__ == "__main__":
    command_line.process(main)
