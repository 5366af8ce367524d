"""The study's page in a real browser: every vote is kept, counted and downloaded as it was given."""

import csv
import io
import pathlib
import tempfile
from typing import Any

import pytest
from PIL import Image

from latentjax.report import study, voting

pytest_plugins = ["tests.browser"]

PAIRS = 6
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """A study of six pairs, two of which come again: black pictures (a) against white ones (b)."""
    root = tmp_path_factory.mktemp("study")
    for name, level in (("black", 0), ("white", 255)):
        (root / name).mkdir()
        for i in range(PAIRS):
            Image.new("RGB", (24, 24), (level,) * 3).save(root / name / f"{i}.png")
    compared = study.of_folders(str(root / "black"), str(root / "white"))
    study.write(root / "out", compared, question="Which is <darker>?", repeats=2)
    return root / "out"


@pytest.fixture
def opened(open_page, folder):
    """Opens the page anew, in a browser that has not seen it."""

    def at(**options: Any) -> Any:
        return open_page(folder / "index.html", **options)

    return at


def wait_for(page: Any, number: int) -> None:
    """Until this pair is shown and a vote would count."""
    page.get_by_text(f"Pair {number} of {PAIRS + 2}", exact=True).wait_for()
    page.wait_for_selector("#pair:not(.loading):not(:has(.chosen))")


def start(page: Any, voter: str) -> None:
    page.get_by_label("Your name or a nickname").fill(voter)
    page.get_by_role("button", name="Start").click()
    wait_for(page, 1)


def names(page: Any) -> tuple[str, str]:
    left, right = (page.locator(f"#{side} img").get_attribute("src") for side in ("left", "right"))
    return pathlib.PurePath(left).name, pathlib.PurePath(right).name


def vote_through(page: Any, key: str) -> list[tuple[str, str]]:
    """Votes on every pair with one key; what was shown, left and right."""
    shown = []
    for number in range(1, PAIRS + 3):
        wait_for(page, number)
        shown.append(names(page))
        page.keyboard.press(key)
    page.get_by_role("heading", name="Thank you").wait_for()
    return shown


def download(page: Any, to: pathlib.Path) -> pathlib.Path:
    with page.expect_download() as caught:
        page.locator("section:not([hidden]) .download").click()
    caught.value.save_as(to)
    return to


def downloaded(page: Any) -> list[dict[str, str]]:
    """The votes as the page gives them now."""
    with tempfile.TemporaryDirectory() as folder:
        text = download(page, pathlib.Path(folder) / "votes.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def black_of(folder: pathlib.Path) -> set[str]:
    """The names of the black pictures, by their pixels."""
    return {path.name for path in (folder / "pictures").iterdir() if Image.open(path).getpixel((9, 9)) == (0, 0, 0)}


def test_every_vote_is_in_the_csv_as_it_was_clicked(opened, folder, tmp_path):
    page, black, clicked = opened(), black_of(folder), []
    start(page, 'Ann "A", Ä')
    for number in range(1, PAIRS + 3):
        wait_for(page, number)
        left, right = names(page)
        side = "left" if left in black else "right"
        clicked.append((left, right, left if side == "left" else right))
        page.locator(f"#{side}").click()
    page.get_by_role("heading", name="Thank you").wait_for()
    rows = downloaded(page)
    assert [(row["left"], row["right"], row["chosen"]) for row in rows] == clicked
    assert [row["repeat"] for row in rows] == ["0"] * PAIRS + ["1"] * 2
    assert all(int(row["milliseconds"]) >= 0 for row in rows)
    votes = voting.read(voting.key_of(folder), [download(page, tmp_path / "ann.csv")])
    assert [(vote.voter, vote.chose_a) for vote in votes] == [('Ann "A", Ä', True)] * (PAIRS + 2)


def test_repeated_pairs_have_their_sides_swapped(opened, folder):
    page = opened()
    start(page, "Ann")
    shown = vote_through(page, "ArrowLeft")
    pair_of = {frozenset(row[:2]): row[:2] for row in shown[:PAIRS]}
    assert len(pair_of) == PAIRS
    for left, right in shown[PAIRS:]:
        assert pair_of[frozenset((left, right))] == (right, left)


def test_keys_vote_and_take_a_vote_back(opened):
    page = opened()
    start(page, "Ann")
    first = names(page)
    page.keyboard.press("ArrowRight")
    wait_for(page, 2)
    second = names(page)
    page.keyboard.press("ArrowLeft")
    wait_for(page, 3)
    page.keyboard.press("u")
    wait_for(page, 2)
    assert names(page) == second
    page.keyboard.press("ArrowRight")
    wait_for(page, 3)
    rows = downloaded(page)
    assert [row["chosen"] for row in rows] == [first[1], second[1]]


def test_the_first_vote_can_be_undone_by_the_button(opened):
    page = opened()
    start(page, "Ann")
    undo = page.locator("#voting .undo")
    assert undo.is_disabled()
    page.locator("#left").click()
    wait_for(page, 2)
    undo.click()
    wait_for(page, 1)
    assert undo.is_disabled()


def test_a_double_click_is_one_vote(opened):
    page = opened()
    start(page, "Ann")
    page.locator("#left").dblclick()
    wait_for(page, 2)
    assert len(downloaded(page)) == 1


def test_a_reload_goes_on_where_it_was(opened):
    page = opened()
    start(page, "Ann")
    page.keyboard.press("ArrowLeft")
    wait_for(page, 2)
    shown = names(page)
    page.reload()
    wait_for(page, 2)
    assert names(page) == shown
    assert len(downloaded(page)) == 1


def test_voters_see_other_orders_and_other_sides(opened):
    page, first = opened(), set()
    for i in range(20):
        start(page, f"voter {i}")
        first.add(names(page))
        page.locator("#voting .leave").click()
    pairs = {frozenset(shown) for shown in first}
    assert len(pairs) > 2
    assert len(first) > len(pairs)


def test_votes_of_an_anonymous_voter_stay_in_reach(opened):
    page = opened()
    start(page, "")
    page.keyboard.press("ArrowLeft")
    wait_for(page, 2)
    page.locator("#voting .leave").click()
    start(page, "Bob")
    page.locator("#voting .leave").click()
    page.get_by_role("button", name="anonymous-").click()
    wait_for(page, 2)
    assert [row["voter"].startswith("anonymous-") for row in downloaded(page)] == [True]


def test_a_name_cannot_be_a_formula_of_a_spreadsheet(opened):
    page = opened()
    start(page, "=1+1")
    page.keyboard.press("ArrowLeft")
    wait_for(page, 2)
    assert downloaded(page)[0]["voter"] == "1+1"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_both_pictures_without_scrolling(opened, scheme):
    page = opened(viewport=PHONE, color_scheme=scheme, has_touch=True, is_mobile=True)
    start(page, "Ann")
    boxes = [page.locator(f"#{name}").bounding_box() for name in ("left", "right")]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"] and box["width"] > 250 for box in boxes)
    assert boxes[0]["y"] + boxes[0]["height"] <= boxes[1]["y"]
    assert page.evaluate("[document.documentElement.scrollHeight, document.documentElement.scrollWidth]") == [844, 390]
    page.locator("#right").tap()
    wait_for(page, 2)


def test_what_is_asked_is_shown_as_it_is_and_controls_have_names(opened):
    page = opened()
    assert page.get_by_role("heading", name="Which is <darker>?").is_visible()
    start(page, "Ann")
    for name in ("Choose the left", "Choose the right", "Undo", "Download", "Another voter"):
        assert page.get_by_role("button", name=name).is_visible()
    assert page.get_by_role("progressbar", name="Votes given").is_visible()
    assert page.evaluate("document.activeElement.id") == "question"


def test_a_browser_that_keeps_nothing_says_so_and_still_counts(opened):
    page = opened()
    page.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('blocked'); }})")
    page.reload()
    start(page, "Ann")
    page.keyboard.press("ArrowLeft")
    wait_for(page, 2)
    assert "keeps nothing" in page.get_by_role("alert").inner_text()
    assert len(downloaded(page)) == 1
