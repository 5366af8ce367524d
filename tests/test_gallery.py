"""The gallery as it is written: one page that stands on its own, knows every strip and mangles no name."""

import html.parser
import json
import re
import urllib.parse

import numpy as np
import pytest
from PIL import Image

from latentjax.report import gallery
from tests import fake_evaluations
from tests.fake_evaluations import ALPHAS, CLASSES, NAMES


class Page(html.parser.HTMLParser):
    """Collects a page's tags, attributes and text; complains about tags that are not closed."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.images, self.links, self.text, self._open = [], [], [], [], []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        if tag == "img":
            self.images.append(attributes)
        self.links += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    runs = fake_evaluations.compared(folder)
    Image.new("RGB", (40, 30)).save(folder / "curves.png")
    figures = [("curves.png", "Curves & bands"), ("quality.png", "not drawn")]
    gallery.write(folder, "Evaluation <demo>", runs, figures, [["run", "achieved"], ["svm <&>", "0.12"]])
    return folder


@pytest.fixture(scope="module")
def source(folder) -> str:
    return (folder / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source) -> Page:
    return Page(source)


@pytest.fixture(scope="module")
def data(source) -> dict:
    inside = re.search(r'<script type="application/json" id="data">(.*?)</script>', source, re.DOTALL)[1]
    return json.loads(inside, parse_constant=pytest.fail)


def test_the_page_stands_on_its_own(folder, page):
    files = [urllib.parse.unquote(link) for link in page.links if not link.startswith(("#", "data:,"))]
    assert files
    assert all((folder / file).is_file() for file in files)


def test_no_address_leads_out_of_the_folder(source):
    assert set(re.findall(r"\w+://[^\s\"'`)]*", source)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in source


def test_every_strip_is_there_without_scripts(page):
    described = {(image["src"], image["alt"]) for image in page.images}
    for name, seed, label in ((NAMES[2], 7, "learned"), (NAMES[4], 0, "svm <&>")):
        address = f"{label[:7].split()[0]}/grids/latent%20{NAMES.index(name):04d}-{seed}.png"
        assert (address, f"{name} along alpha, noise seed {seed}, {label}") in described
    assert sum("/grids/" in address for address, _ in described) == 18


def test_every_image_is_described(page):
    assert all(image["alt"] for image in page.images)


def test_figures_that_are_there_are_shown(page):
    assert ("curves.png", "Curves & bands") in {(image["src"], image["alt"]) for image in page.images}
    assert "not drawn" not in page.text


def test_title_and_table_are_told(page):
    said = [text.strip() for text in page.text]
    assert all(text in said for text in ("Evaluation <demo>", "achieved", "0.12"))


def test_the_table_gives_every_alpha_and_mean(tmp_path):
    run = fake_evaluations.make_run(tmp_path, "one", 0, 1)
    gallery.write(tmp_path, "One", [run], [], [])
    cells = [text.strip() for text in Page((tmp_path / "index.html").read_text()).text if text.strip()]
    start = cells.index("alpha")
    assert cells[start + 1 : start + 6] == ["-0.5", "-0.25", "0", "+0.25", "+0.5"]
    start = cells.index("mean score")
    # .4 + .01 (0 + ... + 5) / 6, and the mean of the changes, 1.3 / 6, times alpha
    assert cells[start + 1 : start + 6] == [f"{0.425 + 1.3 / 6 * alpha:.3f}" for alpha in sorted(ALPHAS)]
    assert any("of the requested change" in text for text in cells)


def test_names_reach_the_script_as_they_are(data):
    assert [latent["name"] for latent in data["latents"]] == NAMES
    assert [latent["class"] for latent in data["latents"]] == CLASSES


def test_values_follow_the_ascending_alphas(data):
    run = data["runs"][0]
    assert run["alphas"] == sorted(ALPHAS)
    assert [ALPHAS[column] for column in run["columns"]] == sorted(ALPHAS)
    assert run["strips"][0][0]["values"][0] == [0.1, 0.25, 0.4, 0.55, 0.7]
    # judged at 0, .5 and -.5, in this order
    assert run["strips"][0][0]["judged"] == [[0.75, None, 1.0, None, 0.875], [9, None, 3, None, 3]]


def test_what_is_no_number_is_null(data):
    strip = data["runs"][0]["strips"][2][0]
    assert strip["values"][data["runs"][0]["measures"].index("object size")] == [None] * 5


def test_a_strip_knows_its_first_line_of_the_manifest(data):
    firsts = [strip["first"] for of_latent in data["runs"][0]["strips"] for strip in of_latent]
    assert firsts == list(range(1, 61, 5))


def test_a_run_without_noise_has_one_seed(data):
    assert [run["seeds"] for run in data["runs"]] == [[0, 7], [0]]
    assert all(len(of_latent) == 1 for of_latent in data["runs"][1]["strips"])


def test_json_is_strict_short_and_safe_inside_a_script():
    told = {
        "a": float("nan"),
        "b": np.float32(1 / 3),
        "c": [np.int64(3), -0.0, float("inf")],
        "d": "</script>\u2028\ud800",
    }
    text = gallery.strict_json(told)
    assert text == '{"a":null,"b":0.3333,"c":[3,0.0,null],"d":"\\u003c/script>\\u2028\\ud800"}'
    assert json.loads(text)["d"] == told["d"]


def test_a_page_is_replaced_whole(tmp_path):
    run = fake_evaluations.make_run(tmp_path, "one", 0, 1)
    before = set(tmp_path.iterdir())
    for title in ("First", "Another"):
        gallery.write(tmp_path, title, [run], [], [])
        assert set(tmp_path.iterdir()) - before == {tmp_path / "index.html"}
    assert "First" not in (tmp_path / "index.html").read_text()
