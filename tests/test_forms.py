"""One setting picks the forms of the layers."""

import itertools

import jax
import pytest

from latentjax.errors import InputError
from latentjax.forms import FORMS, Forms, active, using


def test_the_forms_in_use_are_the_innermost():
    with using("plain"), using("tpu"):
        assert active() == FORMS["tpu"]
    assert active() == FORMS[jax.default_backend()]


def test_unknown_forms_are_refused():
    with pytest.raises(InputError, match=r"config\.forms: 'fast' is unknown"), using("fast"):
        pass


def test_every_named_form_is_one_of_the_tested():
    tested = {
        "upsample": {"broadcast", "repeat", "dilated"},
        "upsample_conv": {"plain", "transposed"},
        "transposed": {"dilated", "phases", "phase", "padded"},
        "transposed_gradient": {"dilated", "phases", "phase"},
        "shortcut": {"before", "after"},
        "depthwise": {"grouped", "shifted"},
        "conv": {"plain", "im2col"},
        "few": {"plain", "blocks"},
        "resize": {"matmul", "blocks"},
        "attention": {"whole", "chunks"},
    }
    for named, field in itertools.product(FORMS.values(), Forms._fields):
        assert getattr(named, field) in tested[field]
