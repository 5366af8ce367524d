"""The report on an assessor: a page, its pictures and its numbers, for any classes, names and gaps in the data."""

import json
import urllib.parse

import numpy as np
import pytest
from PIL import Image

from latentjax.errors import InputError
from latentjax.report import assessor
from latentjax.report.assessor import Curves, Facts
from latentjax.usability import Change, Gradients, Usability
from tests.test_gallery import Page

NAMES = ('plain & <b>"simple"</b>', "größe 漢字 $x_1$")
CURVES = Curves([(10, 0.9), (20, 0.5), (30, 0.4)], [(15, 0.5), (30, 0.75)], 30)
CHANGES = (Change("JPEG of quality 75", 0.11, 0.4, 0.125), Change("resizing to 1/2 and back", 0.01, 0.02, 0.0))
GENERATED = np.concatenate([np.full(30, 0.99), np.linspace(0.1, 0.9, 70)])
GRADIENTS = Gradients(*np.linspace(0.1, 1, 30).reshape(3, 10))
USABILITY = Usability(GENERATED, GRADIENTS, CHANGES)
TRIVIAL = [{"name": "mean <colour>", "accuracy": 0.625, "f1": 0.5, "auc": None}]


def facts(classes=2, count=60, *, names=None, without=None, output="softmax", pictures=True, **given) -> Facts:
    """Of labels in turn, four in five of which are mostly predicted right, with a picture for each index asked for."""
    random = np.random.default_rng(0)
    labels = np.array([label for label in np.arange(count) % classes if label != without])
    logits = random.normal(size=(len(labels), classes))
    logits[np.arange(len(labels)), (labels + (np.arange(len(labels)) % 5 == 3)) % classes] += 4
    logits = logits[:, 1:] - logits[:, :1] if output == "sigmoid" else logits
    found = assessor.shown(output, logits, labels) if pictures else []
    examples = {index: np.full((8, 12, 3), index, np.uint8) for index in found}
    names = names or [f"class {i}" for i in range(classes)]
    settings = {"title": "An <assessor>", "output": output, "names": names, **given}
    return Facts(logits=logits.astype(np.float32), targets=labels, examples=examples, **settings)


def regression(**given) -> Facts:
    true = np.linspace(0, 100, 40)
    predicted = true + np.where(np.arange(40) % 10 == 0, 30, 3 * np.sin(np.arange(40)))
    found = assessor.shown("regression", predicted[:, None], true)
    examples = {index: np.full((8, 8, 3), index, np.uint8) for index in found}
    settings = {"title": "Numbers", "output": "regression", "names": ()}
    return Facts(logits=predicted[:, None], targets=true, examples=examples, **settings, **given)


def written(folder, given: Facts) -> tuple[Page, dict]:
    """The page and the content of report.json; every picture that the page shows is there and nothing else is."""
    assessor.write(folder, given)
    page = Page((folder / "index.html").read_text(encoding="utf-8"))
    shown = {image["src"] for image in page.images}
    assert {path.name for path in folder.iterdir()} == shown | {"index.html", "report.json"}
    for name in shown:
        with Image.open(folder / name) as image:
            assert min(image.size) > 200
            # something is drawn
            assert len(set(image.convert("L").tobytes())) > 10
    return page, json.loads((folder / "report.json").read_text(), parse_constant=pytest.fail)


def said(page: Page) -> str:
    return " ".join(" ".join(page.text).split())


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "new" / "report"
    given = facts(names=NAMES, curves=CURVES, usability=USABILITY, trivial=TRIVIAL)
    return (*written(folder, given), given)


def test_the_page_shows_all_there_is(full):
    page, _, _ = full
    pictures = ["scores.png", "confusion.png", "reliability.png", "learning.png"]
    assert [image["src"] for image in page.images] == pictures
    assert all(image["alt"] for image in page.images)
    for part in ("JPEG of quality 75 0.11 0.40 12.5 %", "30.0 % above 0.98", "length of d score / d z 0.1"):
        assert part in said(page)


def test_the_page_stands_on_its_own_and_shows_names_as_they_are(full):
    page, numbers, _ = full
    assert all(not urllib.parse.urlparse(link).scheme and not link.startswith("/") for link in page.links)
    assert {"script", "b"}.isdisjoint(page.tags)
    for name in (*NAMES, "An <assessor>", "mean <colour>"):
        assert name in said(page)
    assert numbers["names"] == list(NAMES)


def test_trivial_predictors_stand_in_the_assessors_table(full):
    page, numbers, _ = full
    measured = numbers["metrics"]
    row = [f"{measured[name]:.3f}" for name in ("accuracy", "precision", "recall", "f1", "auc", "ece", "nll")]
    text = said(page)
    assert "the assessor " + " ".join(row) in text
    assert "mean <colour> 0.625 – – 0.500 – – –" in text


def test_the_numbers_are_those_of_the_facts(full):
    _, numbers, given = full
    assert numbers["metrics"] == given.metrics
    assert numbers["metrics"]["accuracy"] == pytest.approx(0.8, abs=0.1)
    after = numbers["metrics_after_temperature"]
    assert after["nll"] < numbers["metrics"]["nll"]
    assert after["confusion"] == numbers["metrics"]["confusion"]
    assert sum(numbers["reliability"]["before"]["count"]) == numbers["metrics"]["count"] == 60
    assert numbers["curves"]["validation"] == [[15, 0.5], [30, 0.75]]
    found = numbers["usability"]
    assert (found["generated"]["count"], found["generated"]["above"]) == (100, pytest.approx(0.3))
    assert found["gradients"]["latents"]["50 %"] == pytest.approx(np.median(GRADIENTS.latents))
    assert found["robustness"][0] == CHANGES[0]._asdict()
    assert "30 % of the generated images score above" in found["verdict"][0]


def test_a_page_is_replaced(tmp_path):
    written(tmp_path, facts())
    page, _ = written(tmp_path, facts(title="Another"))
    assert "Another" in said(page)


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
@pytest.mark.parametrize("without", [0, 1])
def test_a_class_may_be_missing_in_validation(tmp_path, output, without):
    page, numbers = written(tmp_path, facts(output=output, without=without, usability=USABILITY))
    assert numbers["metrics"]["auc"] is None
    assert "None" not in said(page)
    assert "nan" not in said(page)


@pytest.mark.parametrize("classes", [3, 12, 40, 60])
def test_any_number_of_classes_is_drawn(tmp_path, classes):
    page, numbers = written(tmp_path, facts(classes, 4 * classes, usability=Usability(robustness=CHANGES)))
    assert np.shape(numbers["metrics"]["confusion"]) == (classes, classes)
    assert len(numbers["metrics"]["per_class"]) == classes
    assert "No generated images were looked at" in said(page)


def test_examples_are_of_each_cell_the_most_confident_and_none_of_many_classes():
    given = facts(count=80)
    shown = set(given.examples)
    probability = np.exp(given.logits) / np.exp(given.logits).sum(1, keepdims=True)
    confident, predicted = probability.max(1), probability.argmax(1)
    for label in (0, 1):
        for taken_for in (0, 1):
            cell = np.flatnonzero((given.targets == label) & (predicted == taken_for))
            kept = sorted(shown & set(cell.tolist()), key=lambda i: -confident[i])
            assert kept
            assert kept == sorted(cell.tolist(), key=lambda i: -confident[i])[:6]
    assert not facts(11, 44).examples


def test_the_matrix_has_the_examples_where_they_belong(tmp_path):
    # plain colours in place of pictures: red are those of label 0, blue those of label 1
    given = facts(count=40)
    colours = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)
    for index in given.examples:
        given.examples[index][:] = colours[given.targets[index]]
    written(tmp_path, given)
    matrix = np.asarray(Image.open(tmp_path / "confusion.png").convert("RGB"))
    red, blue = (np.flatnonzero((matrix == colour).all(2).any(1)) for colour in colours)
    assert len(red) > 100
    assert len(blue) > 100
    assert red.max() < blue.min()


def test_without_examples_curves_and_usability_the_rest_is_shown(tmp_path):
    page, numbers = written(tmp_path, facts(pictures=False))
    assert [image["src"] for image in page.images] == ["scores.png", "confusion.png", "reliability.png"]
    assert (numbers["usability"], numbers["curves"]) == (None, None)
    assert "usable" not in said(page)


def test_scores_are_grouped_by_class_beside_the_generated_ones():
    groups, score = assessor.score_groups(facts(usability=USABILITY))
    assert {name: len(values) for name, values in groups.items()} == {
        "0: class 0": 30,
        "1: class 1": 30,
        "generated": 100,
    }
    assert score == "score: probability of class 1"
    assert groups["1: class 1"].mean() > 0.6 > 0.4 > groups["0: class 0"].mean()
    of_one, score = assessor.score_groups(facts(3, scored_class=2))
    assert score == "score: probability of class 2"
    assert of_one["2: class 2"].mean() > 0.5 > of_one["0: class 0"].mean()
    assert assessor.score_groups(facts(3))[1] == "probability of the own class"
    assert list(assessor.score_groups(facts(12))[0]) == ["validation"]


def test_a_regression_has_a_scatter_in_place_of_confusion_and_reliability(tmp_path):
    changes = tuple(change._replace(flipped=None) for change in CHANGES)
    trivial = [{"name": "the mean", "mae": 25.0, "r2": 0.0}]
    given = regression(usability=Usability(100 * GENERATED, None, changes), trivial=trivial, curves=CURVES)
    page, numbers = written(tmp_path, given)
    assert [image["src"] for image in page.images] == ["scores.png", "scatter.png", "learning.png"]
    assert (numbers["temperature"], numbers["metrics_after_temperature"], numbers["reliability"]) == (None, None, {})
    assert numbers["usability"]["generated"]["above"] is None
    text = said(page)
    assert "the mean 25 – 0 – –" in text
    assert "flip" not in text


def test_the_largest_errors_of_a_regression_are_shown():
    shown = list(regression().examples)
    assert sorted(shown[:4]) == [0, 10, 20, 30]
    assert len(shown) == 6


def test_one_picture_is_enough(tmp_path):
    few = Facts(title="t", output="softmax", names=("a", "b"), logits=np.array([[0.0, 1.0]]), targets=np.array([1]))
    written(tmp_path / "classes", few)
    one = Facts(title="t", output="regression", names=(), logits=np.array([[2.0]]), targets=np.array([1.0]))
    written(tmp_path / "numbers", one)


@pytest.mark.parametrize("name", [r"$\nosuch{$", "_hidden", "undecodable \udcff", "two\nlines", "", "x" * 300])
def test_class_names_take_any_characters(tmp_path, name):
    written(tmp_path, facts(names=(name, "b"), usability=USABILITY, curves=CURVES))


def test_nothing_is_written_of_an_empty_validation(tmp_path):
    nothing = Facts(title="t", output="softmax", names=("a", "b"), logits=np.empty((0, 2)), targets=np.empty(0))
    with pytest.raises(InputError, match=r"^validation: has no pictures; "):
        assessor.write(tmp_path / "report", nothing)
    assert not list(tmp_path.iterdir())
