"""What the page says of its numbers follows from them."""

import pytest

from latentjax.report import reading
from tests.test_paper import summary


def judgement(own: float, rival: float, unrelated: float | None = None, of_y: float | None = None, count: int = 400):
    """What `judge` gives, with these accuracies."""

    def row(name: str, accuracy: float) -> dict:
        return {"name": name, "validation": {"count": count, "accuracy": accuracy}}

    trivial = [row("mean colour", rival), *([] if of_y is None else [row("statistics of y", of_y)])]
    found = {"validation": {"count": count, "accuracy": own}}
    if unrelated is not None:
        found["unrelated"] = {"count": count, "accuracy": unrelated, "auc": None}
    return {"assessor": found, "trivial": trivial}


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (judgement(0.9, 0.7), "The assessor sees more than that."),
        (judgement(0.72, 0.7), "do not show that the assessor sees more"),
        (judgement(0.6, 0.7), "no better than that"),
        (judgement(0.7, 0.7), "no better than that"),
        (judgement(0.9, 0.7, of_y=1.0), "The label is a property of the latent"),
        (judgement(0.9, 0.7, of_y=0.8), "statistics of y alone are right about 80.0 %."),
        (judgement(0.9, 0.7, unrelated=0.6), "That is the figure to believe"),
        (judgement(0.9, 0.7, unrelated=0.89), "not worse there beyond chance"),
    ],
)
def test_the_reading_of_an_assessor_follows_its_numbers(numbers, said):
    assert said in " ".join(reading.of_assessor(numbers))


def test_predictors_that_see_latents_are_no_rivals_of_those_that_see_pictures():
    assert "mean colour" in reading.of_assessor(judgement(0.9, 0.7, of_y=1.0))[0]


def test_the_reading_of_directions_follows_their_numbers():
    told = " ".join(reading.of_directions(summary(0.6), summary(0.3)))
    assert "The map moves the mean score from 0.20 at alpha -0.5 to 0.80 at +0.5." in told
    assert "achieves 0.60 of the change asked for, the one direction 0.30" in told
    assert "further at 2 of 2 alphas, most at" in told
    assert "-0.5 (by 0.15)" in told
    assert "apart at 2 of 2" in told
    told = " ".join(reading.of_directions(summary(0.3), summary(0.6)))
    assert "At no alpha does the map change the score further" in told
