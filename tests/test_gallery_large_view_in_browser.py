"""The gallery's large view, its keys, and how it looks on other screens."""

import re

import pytest

from latentjax.report import gallery
from tests import fake_evaluations
from tests.fake_evaluations import NAMES, told_by
from tests.gallery_hands import drag, loaded, picture_of, pixel

pytest_plugins = ["tests.browser"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A comparison's page: "learned" with two noise seeds, "svm <&>" with one."""
    folder = tmp_path_factory.mktemp("gallery")
    gallery.write(folder, "Evaluation <demo>", fake_evaluations.compared(folder), [], [])
    return folder / "index.html"


@pytest.fixture
def shown(open_page, written):
    return open_page(written)


def test_the_large_view_shows_the_tile_at_full_size_and_its_command(shown):
    drag(shown, picture_of(shown, 3), right=0.2, down=0.5)
    picture_of(shown, 3).click()
    large = shown.locator("#large-picture")
    shown.wait_for_timeout(200)
    # grids/ have the opposite colours
    # in the corners too, but for the one with the score: nothing is seen of what is beside the tile
    for place in ((0.5, 0.5), (0.97, 0.03), (0.03, 0.97), (0.97, 0.97), (0.998, 0.5)):
        assert told_by(tuple(255 - level for level in pixel(shown, large, *place))) == (0, 3, 1, 3)
    assert shown.locator("#large-name").inner_text().startswith("half ")
    assert "alpha +0.25" in shown.locator("#large-now").inner_text()
    # three latents of two strips, one more strip; five lines each; alpha .25 is the fourth tile of the strip
    command = fake_evaluations.COMMAND.format(run="learned").format(line=(3 * 2 + 1) * 5 + 4)
    assert shown.locator("#large-command").inner_text() == command
    shown.keyboard.press("ArrowLeft")
    assert shown.locator("#large-command").inner_text().endswith("jsonl:36'")
    shown.locator('.row[data-run="svm <&>"] .cell').first.click()
    assert shown.locator("#large-command").inner_text() == fake_evaluations.COMMAND.format(run="svm <&>").format(
        line=18
    )
    shown.wait_for_timeout(200)
    assert told_by(tuple(255 - level for level in pixel(shown, large))) == (1, 3, 0, 2)


def test_the_large_view_tells_every_measure(shown):
    picture_of(shown, 2).click()
    shown.keyboard.press("End")
    cells = [row.split("\t") for row in shown.locator("#large-values").inner_text().splitlines()]
    assert cells == [
        ["", "here", "original", "change"],
        ["score", "0.57", "0.42", "+0.15"],
        ["redness", "0.25", "0.00", "+0.25"],
        ["object size", "–", "–", "–"],
        ["identity (cosine of features)", "0.88", "1.00", "−0.13"],
        ["class as judged", "3", "3", ""],
    ]
    shown.keyboard.press("ArrowLeft")
    # judges did not look there
    assert "identity (cosine of features)\t–\t1.00\t–" in shown.locator("#large-values").inner_text()


def test_the_command_is_copied(open_page, written):
    page = open_page(written, permissions=["clipboard-read", "clipboard-write"])
    picture_of(page, 1).click()
    page.click("#copy")
    page.wait_for_function("document.getElementById('large-said').textContent === 'The command is copied.'")
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#large-command").inner_text()


def test_keys_do_what_a_finger_does(shown):
    shown.locator(".tile").first.focus()
    shown.keyboard.press("ArrowRight")
    shown.keyboard.press("ArrowDown")
    assert loaded(shown, 0) == (0, 0, 1, 3)
    shown.keyboard.press("End")
    shown.keyboard.press("ArrowUp")
    assert loaded(shown, 0) == (0, 0, 0, 4)
    shown.keyboard.press("Tab")
    shown.keyboard.press("Home")
    assert loaded(shown, 1) == (0, 1, 0, 0)
    shown.keyboard.press("Shift+ArrowRight")
    shown.keyboard.press("Enter")
    assert shown.locator("#large-name").inner_text() == NAMES[2]
    focused = "document.activeElement.id || document.activeElement.dataset.latent"
    assert shown.evaluate(focused) == "large-picture"
    shown.keyboard.press("ArrowRight")
    shown.keyboard.press("Escape")
    # the dialog tells that it is closed a moment later
    shown.wait_for_function(f"({focused}) === '2'")
    assert loaded(shown, 2) == (0, 2, 0, 3)
    shown.keyboard.press("?")
    assert shown.locator("#help").is_visible()
    shown.keyboard.press("Escape")
    assert not shown.locator("#help").is_visible()


def test_pages_are_turned_in_the_large_view_and_the_tile_is_found_again(shown):
    shown.select_option("#order", "score")
    picture_of(shown, 0).click()
    assert shown.locator("#large-place").inner_text() == "1 of 6"
    shown.keyboard.press("PageDown")
    shown.click('[aria-label="Next picture"]')
    assert shown.locator("#large-name").inner_text() == NAMES[2]
    # beside the picture, and beside the dialog
    shown.locator("#large").click(position={"x": 5, "y": 100})
    assert shown.locator("#large").is_visible()
    shown.mouse.click(5, 450)
    assert not shown.locator("#large").is_visible()
    shown.wait_for_function("document.activeElement.dataset.latent === '2'")


@pytest.mark.parametrize("screen", [{}, {"phone": True}, {"viewport": {"width": 280, "height": 653}}])
def test_nothing_is_wider_than_the_screen(open_page, written, screen):
    page = open_page(written, **screen)
    picture_of(page, 0).click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    width = page.viewport_size["width"]
    assert page.locator("#large").bounding_box()["width"] <= width
    page.keyboard.press("End")
    cell = page.locator(".cell.on").bounding_box()
    assert 0 < cell["x"] < width - cell["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(open_page, written, scheme):
    page = open_page(written, color_scheme=scheme)
    colours = "e => [getComputedStyle(e).color, getComputedStyle(document.body).backgroundColor]"

    def luminance(colour):
        levels = [int(level) / 255 for level in re.findall(r"\d+", colour)[:3]]
        linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for selector in ("h1", "#hint", ".caption .name", ".score"):
        ink, paper = (luminance(colour) for colour in page.locator(selector).first.evaluate(colours))
        assert (paper > ink) == (scheme == "light")
        # of WCAG 2.2, 1.4.3
        assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) >= 4.5


def test_scripts_off_leaves_the_strips(open_page, written):
    page = open_page(written, java_script_enabled=False)
    assert page.locator("noscript img").count() == 18
    assert not page.locator("#app").is_visible()
