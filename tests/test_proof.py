"""A file is proven on the spot: right networks pass, wrong ones do not."""

import json

import pytest
import torch

from converters import biggan, biggan_deep, biggan_pytorch, dcgan, efficientnet, proof, spectral_norm, transformer
from converters.oracles import biggan as biggan_oracle
from converters.oracles import biggan_deep as deep_oracle
from converters.oracles import biggan_pytorch as pytorch_oracle
from converters.oracles import fixtures
from converters.oracles.dcgan import DCGAN
from converters.oracles.efficientnet import EfficientNet
from converters.oracles.transformer import Transformer
from latentjax import generators
from tests.conversion import state_of

QUANTITIES = ["images", "scores", "gradient to the latent", "training step"]
KIND = "AdaptiveDirectionZAdaptiveDirectionY_noise_nonlinear"


def subject(kind):
    """A random network's state dict, and the converter that reads it."""
    made = {
        "biggan": lambda: biggan_oracle.BigGAN(128, 10, channels=8),
        "biggan_deep": lambda: deep_oracle.BigGANDeep(
            biggan_deep.PUBLISHED[0], num_classes=10, channels=8, latent_dim=16
        ),
        "biggan_pytorch": lambda: pytorch_oracle.BigGANPyTorch(128, 10, channels=8),
        "dcgan": lambda: DCGAN(20, 4, (32, 16, 8, 8, 8)),
        "efficientnet": lambda: EfficientNet("b0", num_classes=2),
        "lite0": lambda: EfficientNet("lite0", num_classes=5, padding="native-same"),
        "transformer": lambda: Transformer(20, 4, kind=KIND, noise_dim=8, noise_dim_y=1),
    }
    readers = {
        "biggan": lambda state: biggan.recipe(state, "state"),
        "biggan_deep": lambda state: biggan_deep.recipe(state, "state"),
        "biggan_pytorch": lambda state: biggan_pytorch.recipe(state, "state"),
        "dcgan": lambda state: dcgan.recipe(state, "state", 4),
        "efficientnet": lambda state: efficientnet.recipe(state, "state", None, "symmetric"),
        "lite0": lambda state: efficientnet.recipe(state, "state", None, None),
        "transformer": lambda state: transformer.recipe(state, "state", 4, None, None),
    }
    torch.manual_seed(0)
    module = made[kind]()
    fixtures.randomise(module, seed=1)
    return state_of(module), readers[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "dcgan",
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in ("biggan", "biggan_deep", "biggan_pytorch", "efficientnet", "lite0", "transformer")
        ),
    ],
)
def test_a_right_network_passes(kind):
    found = proof.certificate("file.pth", "0" * 64, *subject(kind))
    assert [row["quantity"] for row in found["figures"]] == QUANTITIES
    assert found["passed"], found["figures"]
    assert json.loads(json.dumps(found)) == found


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["a norm's epsilon", "a spectral norm"])
def test_a_wrong_network_does_not(monkeypatch, wrong):
    kind = "dcgan" if wrong == "a norm's epsilon" else "biggan"
    if kind == "dcgan":
        right = generators.dcgan.FixedNorm
        monkeypatch.setattr(generators.dcgan, "FixedNorm", lambda width, _, **rest: right(width, 1e-4, **rest))
    else:
        stored = spectral_norm.renewed_once
        monkeypatch.setattr(spectral_norm, "renewed_once", lambda matrix, u, n: stored(matrix, u, n) * (1 + 1e-4))
    found = proof.certificate("file.pth", "0" * 64, *subject(kind))
    assert not found["passed"]
    assert not any(row["passed"] for row in found["figures"][:1])
