"""What the score is made of: a weighted sum of assessors, beside others whose score an edit should leave alone."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from latentjax import networks
from latentjax.errors import InputError

FIELDS = {"weights", "weight", "keep", "centre", "slope", "output", "output_class"}


class Term(NamedTuple):
    """One assessor of the sum, or of the penalties."""

    name: str
    assessor: networks.Assessor
    weight: float
    keep: bool  # its score should stay as it is; the weight is the penalty's


class Terms:
    """Assessors as one: scores are sum_i weight_i A_i over the terms that are not kept.

    Attributes:
        state: the weights of all terms, a pytree.
        kept_weights: of the kept terms, in order.
        kept_names: of the kept terms, in order.

    Raises:
        InputError: which of several classes an assessor scores is not set.
    """

    def __init__(self, terms: Sequence[Term]):
        self.terms = tuple(terms)
        for output in filter(None, (term.assessor.output for term in self.terms)):
            _ = output.scored_class  # told now, and not when the first step is traced
        self.state = [term.assessor.state for term in self.terms]
        self.kept_weights = tuple(term.weight for term in self.terms if term.keep)
        self.kept_names = tuple(term.name for term in self.terms if term.keep)

    @property
    def sha256(self) -> str:
        """Of the weights file, or of all of them."""
        files = [term.assessor.sha256 for term in self.terms]
        if len(files) == 1 or not any(files):
            return files[0]
        return hashlib.sha256("".join(files).encode()).hexdigest()

    @property
    def origins(self) -> list[str]:
        """Where the pictures that they learned from are from, as far as that is told."""
        told = (term.assessor.source.get("origin") for term in self.terms)
        return list(dict.fromkeys(origin for origin in told if origin))

    @property
    def settings(self) -> list[dict[str, Any]]:
        """What identifies the scores, for the record."""
        return [
            {
                "weight": term.weight,
                "keep": term.keep,
                "kind": term.assessor.kind,
                "config": json.loads(json.dumps(term.assessor.config)),
                "sha256": term.assessor.sha256,
            }
            for term in self.terms
        ]

    @property
    def bounded(self) -> bool:
        """Whether scores cannot leave [0, 1]."""
        summed = [term for term in self.terms if not term.keep]
        regressions = [
            term.assessor.output is not None and term.assessor.output.kind == "regression" for term in summed
        ]
        within = all(term.weight > 0 for term in summed) and sum(term.weight for term in summed) <= 1
        return within and not any(regressions)

    def apply(self, state: list[Any], images: jax.Array) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] -> scores [B]; in [0, 1] where one term has weight 1."""
        scores = [
            term.weight * term.assessor.apply(own, images)
            for term, own in zip(self.terms, state, strict=True)
            if not term.keep
        ]
        return jnp.sum(jnp.stack(scores), 0)

    def kept(self, state: list[Any], images: jax.Array) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] -> kept scores [B, n]."""
        pairs = zip(self.terms, state, strict=True)
        return jnp.stack([term.assessor.apply(own, images) for term, own in pairs if term.keep], 1)


def load(entries: Sequence[Any]) -> Terms:
    """The terms of `assessor.terms`: {"weights": NAME, "weight": w, "keep": bool} and settings of the assessor.

    Raises:
        InputError: an entry is no such thing, an assessor cannot be loaded, or none is left to raise the score of.
    """
    terms: list[Term] = []
    for i, entry in enumerate(entries):
        field = f"config.assessor.terms[{i}]"
        todo = 'write {"weights": "embedded:brightness", "weight": 10.0, "keep": True}, for example'
        if not isinstance(entry, dict) or not isinstance(entry.get("weights"), str) or not entry["weights"]:
            raise InputError(field, "is no term", todo)
        if unknown := [name for name in entry if name not in FIELDS]:
            raise InputError(field, f"has the unknown field {unknown[0]!r}", f"use {', '.join(sorted(FIELDS))}")
        weight, keep = entry.get("weight", 1.0), entry.get("keep", False)
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not number or not abs(weight) < 1e9 or not weight or (keep and weight < 0):
            raise InputError(field, f"has the weight {weight!r}", "give a finite number, not 0; above 0 with keep")
        if not isinstance(keep, bool):
            raise InputError(field, f"has keep {keep!r}", "give True or False")
        settings = {name: entry[name] for name in entry if name not in ("weights", "weight", "keep")}
        try:
            assessor = networks.load_assessor(entry["weights"], **settings)
        except InputError as error:
            raise InputError(error.where.replace("config.assessor", field), error.what, error.todo) from error
        name = entry["weights"].rstrip("/").replace(":", "/").rsplit("/", 1)[-1]
        if name in {term.name for term in terms}:
            name = f"{name}-{i}"
        terms.append(Term(name, assessor, float(weight), keep))
    if all(term.keep for term in terms):
        raise InputError("config.assessor.terms", "keeps every score", "add a term without keep: what to have more of")
    return Terms(terms)
