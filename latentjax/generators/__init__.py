"""Generators G: (z, y) -> images."""

from latentjax.generators.biggan import BigGAN
from latentjax.generators.biggan_deep import BigGANDeep
from latentjax.generators.dcgan import DCGAN

KINDS = {"biggan": BigGAN, "biggan_deep": BigGANDeep, "dcgan": DCGAN}
