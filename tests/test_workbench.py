"""The networks as a config names them, and in the precision that it asks for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from converters.oracles import biggan as oracle
from converters.oracles import fixtures
from latentjax.errors import InputError
from latentjax.jobs import workbench
from tests import tiny_runs
from tests.conversion import network, state_of


def test_bfloat16_images_are_close_to_float32s():
    model = oracle.BigGAN(128, 10, channels=8).eval()
    fixtures.randomise(model, seed=128)
    generator = network("biggan", "generator", state_of(model))
    z, y = (array.numpy() for array in fixtures.sample_inputs(model, 2, torch.Generator().manual_seed(1)))
    reduced = workbench.to_bfloat16(generator.state)
    dtypes = {str(leaf.dtype) for leaf in jax.tree.leaves(reduced)}
    images = workbench.in_bfloat16(generator, reduced, jnp.asarray(z), jnp.asarray(y))
    exact = generator(z, y)
    assert dtypes == {"float32", "bfloat16"}  # norms stay exact
    assert images.dtype == jnp.float32
    # bfloat16 keeps 8 bits of each activation: a few levels of 255 on average
    assert np.abs(images - exact).mean() < 0.02
    assert np.abs(images - exact).max() > 0


def test_a_transformer_that_moves_nothing_is_refused(tmp_path):
    generator = tiny_runs.save_generator(tmp_path / "generator")
    config = tiny_runs.config(generator, transformer__z="none", transformer__y="none")
    bench = workbench.prepare(config, str(tmp_path / "run"))
    with pytest.raises(InputError, match="moves neither z nor y"):
        workbench.new_transformer(bench)
    assert not (tmp_path / "run").exists()
