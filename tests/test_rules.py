"""Rules map a state dict onto a model as a bijection, or say which tensor is at fault."""

import re

import numpy as np
import pytest

from converters import rules, transformer
from converters.kinds import KINDS
from converters.rules import Recipe, Rule
from latentjax import transformers, weights
from latentjax.errors import InputError

SHAPES = {"norm/scale": (2,), "norm/var": (2,), "dense/kernel": (3, 2), "convs/0/kernel": (1, 1, 2, 4)}
RULES = (
    Rule(r".*num_batches_tracked", None),
    Rule(r"bn\.(?P<what>scale|var)", r"norm/\g<what>"),
    Rule(r"fc\.weight", "dense/kernel", rules.linear),
    Rule(r"old_fc\.weight", "dense/kernel", rules.linear),
    Rule(r"conv\.(\d+)\.weight", r"convs/\1/kernel", rules.conv),
)


def state(**changes):
    """A state dict that fits; `changes` replace tensors, or drop those that are None (names with __ for the dot)."""
    whole = {
        "bn.scale": np.array([1.0, 2.0], np.float32),
        "bn.var": np.array([3.0, 0.0], np.float64),
        "bn.num_batches_tracked": np.array(7),
        "fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "conv.0.weight": np.arange(8, dtype=np.float16).reshape(4, 2, 1, 1),
    }
    whole |= {name.replace("__", "."): array for name, array in changes.items()}
    return {name: array for name, array in whole.items() if array is not None}


def applied(tensors, **problems):
    return rules.apply(Recipe("example", {}, RULES, tensors, problems), SHAPES, "net.pth")


def refusal(tensors, **problems):
    with pytest.raises(InputError) as caught:
        applied(tensors, **problems)
    line = str(caught.value)
    assert line.startswith("net.pth: does not fit example: ")
    assert line.endswith("; give the whole, unchanged published file")
    return line


def test_every_tensor_gets_its_place_and_layout_in_float32():
    arrays = applied(state())
    assert {path: array.shape for path, array in arrays.items()} == SHAPES
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in arrays.values())
    np.testing.assert_array_equal(arrays["dense/kernel"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(arrays["convs/0/kernel"][0, 0], np.arange(8).reshape(4, 2).T)


def test_a_file_with_many_problems_makes_a_short_line():
    line = refusal(state(), **{f"of wrong shape, [{number}]": ["key"] for number in range(1000)})
    assert line.count("of wrong shape") == 6
    assert ", ...; " in line


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (state(fc__weight=None), "1 missing (fc.weight)"),
        (state(bn__var=None, conv__0__weight=None), "2 missing (bn.var, conv.0.weight)"),
        (state(extra=np.zeros(1)), "1 unexpected (extra)"),
        (state(conv__1__weight=np.zeros((4, 2, 1, 1))), "1 unexpected (conv.1.weight)"),
        (state(old_fc__weight=np.zeros((2, 3))), "1 doubly assigned (old_fc.weight)"),
        (state(fc__weight=np.zeros((3, 3))), "1 of wrong shape, [3, 3] (fc.weight)"),
        (state(fc__weight=np.zeros((3, 2))), "1 of wrong shape, [3, 2] (fc.weight)"),
        (state(conv__0__weight=np.zeros((4, 2))), "1 of wrong shape, [4, 2] (conv.0.weight)"),
        (state(bn__scale=np.zeros(())), "1 of wrong shape, [] (bn.scale)"),
        (state(bn__scale=np.array([0, np.nan])), "1 not finite (bn.scale)"),
        (state(bn__scale=np.array([0, -np.inf])), "1 not finite (bn.scale)"),
        (state(bn__scale=np.array([0, 1e300])), "1 not finite (bn.scale)"),
        (state(bn__var=np.array([1, -1e-9])), "1 below zero (bn.var)"),
        (state(fc__weight=None, extra=np.zeros(1)), "1 missing (fc.weight), 1 unexpected (extra)"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(tensors, said):
    assert said in refusal(tensors)


def test_many_culprits_are_counted_and_three_named():
    line = refusal(state(**{name: np.zeros(1) for name in "abcde"}))
    assert "5 unexpected (a, b, c, ...)" in line
    assert len(refusal(state(**{"a" * 10_000: np.zeros(1)}))) < 300


def test_what_a_recipe_found_before_is_told_too():
    line = refusal(state(extra=np.zeros(1)), missing=["fc.weight_u"])
    assert "1 missing (fc.weight_u), 1 unexpected (extra)" in line


def test_a_value_that_overflows_float32_warns_of_nothing_else(recwarn):
    refusal(state(bn__scale=np.array([0, 1e300])))
    assert not recwarn.list


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({}, "net.pth: lacks fc.weight; give the whole state dict"),
        ({"fc.weight": np.zeros(3)}, "net.pth: has fc.weight of shape [3]; give the published state dict"),
        (
            {"fc.weight": np.zeros((0, 1 << 50))},
            "net.pth: has fc.weight without numbers; give the published state dict",
        ),
    ],
)
def test_a_tensor_that_decides_a_size_must_have_it(tensors, said):
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        rules.dimension(tensors, "fc.weight", 1, "net.pth")


def assert_every_path_comes_from_one_key(table, kind, config):
    paths = list(weights.shapes_of(kind, config))
    keys = [rules.source_of(table, path) for path in paths]
    assert len(set(keys)) == len(paths)
    assert [rules.find(table, key)[1] for key in keys] == paths


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("biggan", {"resolution": 128, "num_classes": 3, "channels": 8}),
        ("efficientnet", {}),
    ],
)
def test_every_path_of_a_model_comes_from_one_key(kind, config):
    assert_every_path_comes_from_one_key(KINDS[kind].RULES, kind, config)


@pytest.mark.parametrize("name", transformers.KINDS)
def test_every_path_of_a_transformer_comes_from_one_key(name):
    kind = transformers.KINDS[name]
    config = {"latent_dim": 4, "num_classes": 50, "z": kind.z, "y": kind.y}
    config |= {"num_directions": 12} if kind.several else {}
    assert_every_path_comes_from_one_key(transformer.rules_of(kind), "transformer", config)
