"""Layers that are more than a convolution."""

import jax
import pytest

from latentjax import layers
from latentjax.forms import Forms, using
from tests.test_convolutions import arrays, assert_alike


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def test_attention_in_chunks(monkeypatch):
    monkeypatch.setattr(layers, "SCORES", 64)
    queries, keys, values = arrays((2, 32, 4), (2, 8, 4), (2, 8, 6))
    assert_alike(Forms(attention="chunks"), lambda q, k: layers.attention(q, k, values), queries, keys)
    assert_alike(Forms(attention="chunks"), lambda k, v: layers.attention(queries, k, v), keys, values)


def test_attention_holds_a_chunk_of_scores_at_a_time():
    queries, keys, values = arrays((1, 8 * layers.SCORES // 64, 4), (1, 64, 4), (1, 64, 6))
    largest = {}
    for form in ("whole", "chunks"):
        with using(Forms(attention=form)):
            jaxpr = jax.make_jaxpr(jax.grad(lambda q: layers.attention(q, keys, values).sum()))(queries)
        largest[form] = max(variable.aval.size for variable in outputs(jaxpr.jaxpr))
    assert largest["whole"] == 8 * layers.SCORES
    assert largest["chunks"] <= largest["whole"] / 8


def outputs(jaxpr):
    """Every intermediate array, those of inner functions too."""
    for equation in jaxpr.eqns:
        yield from equation.outvars
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda p: hasattr(p, "eqns") or hasattr(p, "jaxpr")):
            if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                yield from outputs(getattr(inner, "jaxpr", inner))
