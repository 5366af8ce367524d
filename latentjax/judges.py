"""What looks at edits beside the assessor: features, a classifier, and a second, held-out assessor."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging

from latentjax import networks, terms
from latentjax.config import ConfigDict
from latentjax.errors import InputError


class Judges:
    """The judges that evaluate.features, .classifier and .held_out name; falsy where none judges.

    Args:
        settings: the config's evaluate group.
        alphas: of the evaluation; those judged are the ones that evaluate.judged_alphas names too, and 0 must be
            among them, for everything is compared with it.

    Attributes:
        indices: positions in alphas of those judged.
        alphas: those judged, rounded to six decimals, in this order.
        state: the weights, a pytree.
        facts: what identifies each judge, for the record.

    Raises:
        InputError: a judge cannot be loaded, or does not fit its task; the field is named.
    """

    def __init__(self, settings: ConfigDict, alphas: Sequence[float]):
        self._features = with_features(settings.features) if settings.features else None
        self._classifier = with_classes(settings.classifier) if settings.classifier else None
        self._held_out = held_out(settings.held_out) if settings.held_out else None
        loaded = {"features": self._features, "class": self._classifier, "held out": self._held_out}
        self._judges: dict[str, Any] = {name: judge for name, judge in loaded.items() if judge is not None}
        self.indices = judged(alphas, settings.judged_alphas) if self._judges else []
        if not self.indices:
            self._judges = {}
        self.alphas = [rounded(alphas[i]) for i in self.indices]
        self.state = {name: judge.state for name, judge in self._judges.items()}
        self.facts: dict[str, str] = {name: identity_of(judge) for name, judge in self._judges.items()}

    def __bool__(self) -> bool:
        return bool(self._judges)

    def apply(self, state: Mapping[str, Any], images: jax.Array) -> dict[str, jax.Array]:
        """What the judges say of images, as a pure function of their weights.

        Args:
            state: as `state`.
            images: [N, R, R, 3] in [-1, 1].

        Returns:
            "features" [N, F] float32, "class" [N] int32, "held out" scores [N]; only what was asked for.
        """
        found = {}
        for name, judge in self._judges.items():
            if name == "features":
                found[name] = judge.apply(state[name], images, method="features")
            elif name == "class":
                logits = judge.apply(state[name], images, method="logits")
                found[name] = jnp.argmax(logits, axis=1).astype(jnp.int32)
            else:
                found[name] = judge.apply(state[name], images)
        return found


def rounded(alpha: float) -> float:
    """To six decimals, as the record has it; a float32 .3 is .3, and -0 is 0."""
    return round(float(alpha), 6) + 0.0


def judged(alphas: Sequence[float], wanted: Sequence[float]) -> list[int]:
    """Positions in alphas of those wanted; none, with a warning, where 0 is not among them."""
    chosen = {rounded(alpha) for alpha in wanted}
    found = [i for i, alpha in enumerate(alphas) if rounded(alpha) in chosen]
    if any(rounded(alphas[i]) == 0 for i in found):
        return found
    logging.warning("nothing is judged: 0 is not both in evaluate.alphas and in evaluate.judged_alphas")
    return []


def loaded(name: str, field: str) -> networks.Assessor:
    """The assessor that a field names.

    Raises:
        InputError: it cannot be loaded.
    """
    try:
        return networks.load_assessor(name)
    except InputError as error:
        raise InputError(field, f"{error.where} {error.what}", error.todo) from error


def with_features(name: str) -> networks.Assessor:
    """The network of evaluate.features.

    Raises:
        InputError: it cannot be loaded, or has no features.
    """
    network = loaded(name, "config.evaluate.features")
    if not network.has_features:
        what = f"{name} is an image property, which has no features"
        raise InputError("config.evaluate.features", what, "give an EfficientNet or a ResNet, such as embedded:lite0")
    return network


def with_classes(name: str) -> networks.Assessor:
    """The network of evaluate.classifier.

    Raises:
        InputError: it cannot be loaded, or tells no classes apart.
    """
    network = loaded(name, "config.evaluate.classifier")
    if network.output is None or network.output.num_classes < 2:
        what = f"{name} does not tell classes apart"
        raise InputError("config.evaluate.classifier", what, "give a classifier, such as embedded:eye-colours")
    return network


def held_out(entries: Sequence[Any]) -> terms.Terms:
    """The second assessor, of evaluate.held_out.

    Raises:
        InputError: an entry is no term, an assessor cannot be loaded, or a term is of a score to keep.
    """
    field = "config.evaluate.held_out"
    try:
        assessor = terms.load(entries)
    except InputError as error:
        # of a term, of all of them, or of a setting of its assessor
        where = error.where.replace("config.assessor.terms", field).replace("config.assessor", field)
        raise InputError(where, error.what, error.todo) from error
    if assessor.kept_names:
        raise InputError(field, f"keeps the score of {assessor.kept_names[0]}, and only judges", "leave keep out")
    return assessor


def identity_of(judge: networks.Assessor | terms.Terms) -> str:
    """What tells one judge from another: its weights file, and what its score is."""
    if isinstance(judge, terms.Terms):
        return json.dumps(judge.settings, sort_keys=True)
    return judge.sha256
