"""Generators G: (z, y) -> images."""

from latentjax.generators.biggan import BigGAN
from latentjax.generators.dcgan import DCGAN

KINDS = {"biggan": BigGAN, "dcgan": DCGAN}
