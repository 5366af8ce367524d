"""Files of random weights, the PyTorch ones and their conversions, that all sides of a benchmark load."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from benchmarks.sides import Task, alone

TRANSFORMER = "AdaptiveDirectionZAdaptiveDirectionY_noise_nonlinear"


class Files(NamedTuple):
    """Model folders; beside each is the .pth file that it was converted from."""

    generator: str
    assessor: str
    transformer: str
    size: int
    channels: int
    variant: str = "b0"

    @staticmethod
    def torch(folder: str) -> str:
        """The PyTorch file of a model folder."""
        return f"{folder}.pth"


def made(folder: str, size: int, channels: int, variant: str) -> Task:
    """Makes what is missing in a folder; run in a process of its own, for the parent stays small."""
    import torch

    import converters
    from converters.oracles import biggan, efficientnet, fixtures, transformer

    def make(name: str, module: torch.nn.Module, **options: Any) -> None:
        file = pathlib.Path(folder) / f"{name}.pth"
        if not file.exists():
            fixtures.randomise(module)
            aside = file.with_suffix(".part")
            torch.save(module.state_dict(), aside)
            aside.rename(file)
        if not file.with_suffix("").exists():
            converters.convert(file, file.with_suffix(""), **options)

    names = names_of(size, channels, variant)
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    generator = biggan.BigGAN(size, channels=channels)
    make(names[2], transformer.Transformer(generator.latent_dim, generator.num_classes, kind=TRANSFORMER))
    make(names[1], efficientnet.EfficientNet(variant, num_classes=2), padding="symmetric")
    make(names[0], generator)
    return Task(lambda steps: None)


def names_of(size: int, channels: int, variant: str) -> tuple[str, str, str]:
    """Of generator, assessor and transformer."""
    return f"biggan{size}-{channels}", f"efficientnet-{variant}", f"transformer-{size}"


@contextlib.contextmanager
def files(
    kept: pathlib.Path | None, cpus: Sequence[int], size: int = 128, channels: int = 96, variant: str = "b0"
) -> Iterator[Files]:
    """The files, in a folder that is kept or in a temporary one.

    Args:
        kept: the folder; None: a temporary one.
        cpus: the cores to use.
        size, channels: of the generator; 96 are the published width.
        variant: of the assessor.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = (kept or pathlib.Path(temporary)).absolute()
        alone("benchmarks.random_weights:made", cpus, folder=str(folder), size=size, channels=channels, variant=variant)
        names = names_of(size, channels, variant)
        yield Files(*(str(folder / name) for name in names), size, channels, variant)
