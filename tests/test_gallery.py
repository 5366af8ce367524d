"""The gallery: one page that stands on its own, shows every strip and mangles no name."""

import html.parser
import urllib.parse

import pytest

from latentjax.report import gallery
from latentjax.report.statistics import summarise

ALPHAS = [-0.5, 0.0, 0.125, 0.5]
SCORES = [[0.1, 0.2, 0.3, 0.9], [0.5, 0.5, 0.5, 0.5], [0.9, 0.6, 0.5, 0.2]]
NAMES = ['<script>alert("1")</script>', "key=x.jpeg?size=x&b=1", "größe 漢字 100%"]


class Page(html.parser.HTMLParser):
    """Collects a page's tags, attributes and text; complains about tags that are not closed."""

    VOID = ("meta", "img", "br", "link")

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


def strips(names=NAMES, scores=SCORES):
    return [
        {"name": name, "noise_seed": i, "file": f"strip{i}.png", "scores": row}
        for i, (name, row) in enumerate(zip(names, scores, strict=True))
    ]


def written(folder, alphas=ALPHAS, shown=None, title="Evaluation sampled-300", scores=SCORES) -> Page:
    summary = summarise(scores, alphas, {}, latents=range(len(scores)))
    gallery.write(folder, title, summary, strips(scores=scores) if shown is None else shown)
    return Page((folder / "index.html").read_text(encoding="utf-8"))


@pytest.fixture
def page(tmp_path) -> Page:
    return written(tmp_path)


def test_every_strip_and_the_curves_are_shown(page):
    assert page.images[0]["src"] == "curves.png"
    assert sorted(image["src"] for image in page.images[1:]) == [f"grids/strip{i}.png" for i in range(3)]


def test_the_page_stands_on_its_own(page):
    assert all(not urllib.parse.urlparse(link).scheme and not link.startswith("/") for link in page.links)
    assert "script" not in page.tags


def test_names_are_shown_as_they_are(page):
    described = [image["alt"] for image in page.images[1:]]
    for i, name in enumerate(NAMES):
        assert f"{name} along alpha, noise seed {i}" in described


def test_every_image_is_described(page):
    assert all(image["alt"] for image in page.images)


def test_file_names_with_odd_characters_are_found(tmp_path):
    names = ["a b.png", "50%.png", "a#1.png", "a?b=c.png"]
    shown = [entry | {"file": name} for entry, name in zip(strips() + strips()[:1], names, strict=True)]
    links = written(tmp_path, shown=shown).links
    assert {urllib.parse.unquote(link) for link in links[1:]} == {f"grids/{name}" for name in names}
    assert not any(character in link for link in links for character in " ?#")


def test_the_least_changed_strips_come_first(tmp_path, page):
    # changes .8, 0 and -.7
    assert [image["src"] for image in page.images[1:]] == [f"grids/strip{i}.png" for i in (2, 1, 0)]


def test_the_order_of_the_alphas_does_not_turn_it_round(tmp_path, page):
    backwards = written(tmp_path, alphas=ALPHAS[::-1], scores=[row[::-1] for row in SCORES])
    assert backwards.images == page.images


def test_the_table_gives_every_alpha_and_mean(page):
    cells = [text.strip() for text in page.text if text.strip()]
    start = cells.index("alpha")
    assert cells[start + 1 : start + 5] == ["-0.5", "0", "+0.125", "+0.5"]
    start = cells.index("mean score")
    assert cells[start + 1 : start + 5] == ["0.500", "0.433", "0.433", "0.533"]


def test_what_was_achieved_is_said_where_it_is_known(tmp_path, page):
    assert "of the requested change" in " ".join(page.text)
    one = written(tmp_path, alphas=[0.0, 0.1, 0.2, 0.25])
    assert "of the requested change" not in " ".join(one.text)
    assert "None" not in " ".join(one.text)


def test_a_page_is_replaced_whole(tmp_path):
    written(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    assert "Another" in " ".join(written(tmp_path, title="Another").text)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
