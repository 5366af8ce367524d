"""One of each kind of file that the converters accept, made here, and the README's table of them.

python -m tests.accepted_files      # writes the table into README.md
"""

import json
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import safetensors.torch
import torch

from converters import biggan_deep
from converters.oracles import biggan as biggan_oracle
from converters.oracles import biggan_deep as deep_oracle
from converters.oracles import biggan_pytorch as pytorch_oracle
from converters.oracles import fixtures
from converters.oracles.dcgan import DCGAN
from converters.oracles.efficientnet import EfficientNet
from converters.oracles.resnet import ResNet
from converters.oracles.transformer import Transformer
from tests import other_packages

README = pathlib.Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- accepted files: python -m tests.accepted_files -->", "<!-- end -->"
KIND = "AdaptiveDirectionZAdaptiveDirectionY_noise_nonlinear"


class Accepted(NamedTuple):
    """A row of the table."""

    what: str
    file: str  # as it is called where it comes from; a folder ends in /
    folder: str  # that it is converted to
    flags: str  # that its command needs
    make: Callable[[pathlib.Path], Any]  # writes one to this place


def saved(module: Callable[[], torch.nn.Module], wrap: Callable[[Any], Any] = lambda state: state) -> Any:
    """A maker of a file by torch.save."""

    def make(place: pathlib.Path) -> None:
        made = module()
        fixtures.randomise(made)
        torch.save(wrap(made.state_dict()), place)

    return make


def whole_module(place: pathlib.Path) -> None:
    """A module of efficientnet_pytorch, pickled as the published code does."""
    from efficientnet_pytorch import EfficientNet as Published

    torch.save(Published.from_name("efficientnet-b0", num_classes=2), place)


def of_package(name: str) -> Any:
    """A maker of another package's state dict."""
    return lambda place: torch.save(other_packages.network(name).state_dict(), place)


def hugging_face(place: pathlib.Path) -> None:
    """A folder with weights and config.json."""
    made = deep_oracle.BigGANDeep(biggan_deep.PUBLISHED[0], num_classes=10, channels=8, latent_dim=16)
    fixtures.randomise(made)  # as PyTorch makes it, some norms are below zero
    place.mkdir()
    torch.save(made.state_dict(), place / "pytorch_model.bin")
    layers = [list(layer) for layer in biggan_deep.PUBLISHED[0]]
    settings = {"layers": layers, "attention_layer_position": 8, "eps": 1e-4, "channel_width": 8}
    (place / "config.json").write_text(json.dumps(settings))


def in_safetensors(place: pathlib.Path) -> None:
    """A state dict in the other format."""
    state = {key: tensor.contiguous() for key, tensor in EfficientNet("b0", num_classes=2).state_dict().items()}
    safetensors.torch.save_file(state, place)


def b0() -> torch.nn.Module:
    """A two-class assessor."""
    return EfficientNet("b0", num_classes=2)


def prefixed(prefix: str) -> Callable[[Any], Any]:
    """A state dict as a wrapper around the network saves it."""
    return lambda state: {f"{prefix}{key}": tensor for key, tensor in state.items()}


FILES = (
    Accepted(
        "BigGAN of GANalyze, 128, 256, 512 pixels",
        "biggan-512.pth",
        "biggan512",
        "",
        saved(lambda: biggan_oracle.BigGAN(512, 10, channels=8)),
    ),
    Accepted(
        "BigGAN-deep of Hugging Face: the folder, or its weights with config.json beside them",
        "biggan-deep-128/",
        "biggandeep128",
        "",
        hugging_face,
    ),
    Accepted(
        "BigGAN-PyTorch, hierarchical with a shared embedding, 128 and 256 pixels",
        "G_ema.pth",
        "biggan128",
        "",
        saved(lambda: pytorch_oracle.BigGANPyTorch(128, 10, channels=8)),
    ),
    Accepted(
        "DCGAN of painted eyes",
        "generator_model_state.pth",
        "eyes",
        "--num-classes=8",
        saved(lambda: DCGAN(20, 8, (32, 16, 8, 8, 8))),
    ),
    Accepted(
        "the creativity assessor: a whole module of efficientnet_pytorch, read with its own padding",
        "best.pth",
        "creative",
        "",
        whole_module,
    ),
    Accepted(
        "EfficientNet of efficientnet_pytorch 0.7.0 (0.7.1: native-same)",
        "b0.pth",
        "b0",
        "--padding=symmetric",
        saved(b0),
    ),
    Accepted("EfficientNet of torchvision", "efficientnet_b0.pth", "b0", "", of_package("torchvision:efficientnet_b0")),
    Accepted(
        "EfficientNet of timm",
        "efficientnet_b0.bin",
        "b0",
        "--padding=symmetric --bn-epsilon=1e-5 --preprocessing=imagenet",
        of_package("timm:efficientnet_b0"),
    ),
    Accepted(
        "EfficientNet of timm, a tf_ variant",
        "tf_efficientnet_b0.bin",
        "b0",
        "--padding=same --bn-epsilon=1e-3 --preprocessing=imagenet",
        of_package("timm:tf_efficientnet_b0"),
    ),
    Accepted(
        "EfficientNet-Lite0",
        "efficientnet-lite0.pth",
        "lite0",
        "",
        saved(lambda: EfficientNet("lite0", padding="native-same")),
    ),
    Accepted(
        "ResNet-18 and -34 of torchvision, and of omniart-eye-classifier",
        "resnet18.pth",
        "resnet18",
        "",
        saved(lambda: ResNet(10, width=8, hidden=12)),
    ),
    Accepted(
        "a checkpoint of Lightning, or of DataParallel (`module.`)",
        "last.ckpt",
        "b0",
        "--padding=symmetric",
        saved(b0, lambda state: {"epoch": 3, "state_dict": prefixed("model.")(state)}),
    ),
    Accepted("any of these as safetensors", "model.safetensors", "b0", "--padding=symmetric", in_safetensors),
    Accepted(
        "a trained transformer, any of the 16 published kinds",
        "transformer.pth",
        "transformer",
        "",
        saved(lambda: Transformer(120, 1000, kind=KIND)),
    ),
)


def table() -> str:
    """The table, in Markdown."""
    rows = ["| what | command |", "|---|---|"]
    for what, file, folder, flags, _ in FILES:
        rows.append(f"| {what} | `{' '.join(['python -m converters', file, f'weights/{folder}', *flags.split()])}` |")
    return "\n".join(rows)


def in_readme() -> str:
    """What README.md has between the marks."""
    return README.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].strip()


if __name__ == "__main__":
    before, rest = README.read_text(encoding="utf-8").split(BEGIN)
    README.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}", encoding="utf-8")
