"""The networks as a config names them, and in the precision that it asks for."""

import pytest

from latentjax.errors import InputError
from latentjax.jobs import workbench
from tests import tiny_runs


def test_a_transformer_that_moves_nothing_is_refused(tmp_path):
    generator = tiny_runs.save_generator(tmp_path / "generator")
    config = tiny_runs.config(generator, transformer__z="none", transformer__y="none")
    bench = workbench.prepare(config, str(tmp_path / "run"))
    with pytest.raises(InputError, match="moves neither z nor y"):
        workbench.new_transformer(bench)
    assert not (tmp_path / "run").exists()
