"""The demo does what the README says of it."""

import json

import numpy as np
import pytest

from configs import demo
from latentjax.errors import InputError
from latentjax.jobs import train


@pytest.mark.slow
def test_the_demo_reaches_what_the_readme_states(tmp_path):
    config = demo.get_config()
    config.train.samples_every = 0
    try:
        train.run(config, str(tmp_path / "demo"))
    except InputError as error:
        pytest.skip(str(error))
    steps = config.train.num_steps
    before, after = (
        json.loads((tmp_path / "demo" / "evaluation" / f"sampled-{step}" / "summary.json").read_text())
        for step in (0, steps)
    )
    assert after["latents"] == 64
    assert (np.diff(after["score"]["mean"]) > 0).all()
    assert before["achieved"] < 0.2
    assert 0.7 <= after["achieved"] <= after["achieved_limit"]


def test_every_variant_is_a_config():
    for name in demo.VARIANTS:
        assert demo.get_config(name).train.num_steps == demo.get_config().train.num_steps
    assert demo.get_config("z_only").transformer.y == "none"
    with pytest.raises(InputError, match="z_onyl"):
        demo.get_config("z_onyl")
