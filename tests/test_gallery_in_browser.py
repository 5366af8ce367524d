"""The gallery in a browser: a finger on a picture moves it, and what is seen is what is announced."""

import pytest

from latentjax.report import gallery
from tests import fake_evaluations
from tests.fake_evaluations import CHANGES, NAMES
from tests.gallery_hands import announced, drag, loaded, order, picture_of

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


def state(page) -> str:
    """The end of the address."""
    return page.evaluate("location.hash")


def test_every_latent_begins_at_its_original(shown):
    assert [loaded(shown, latent) for latent in range(6)] == [(0, latent, 0, 2) for latent in range(6)]
    assert announced(shown, 0) == "original, score 0.40, noise seed 0"
    assert shown.locator('[role="slider"].tile').count() == 6


def test_dragging_sideways_moves_alpha(shown):
    seen = []
    for right in (0.2, 0.2, -0.6, -3):
        drag(shown, picture_of(shown, 0), right=right)
        seen.append((loaded(shown, 0), announced(shown, 0)))
    assert seen == [
        ((0, 0, 0, 3), "alpha +0.25, score 0.55, noise seed 0"),
        ((0, 0, 0, 4), "alpha +0.5, score 0.70, noise seed 0"),
        ((0, 0, 0, 1), "alpha −0.25, score 0.25, noise seed 0"),
        ((0, 0, 0, 0), "alpha −0.5, score 0.10, noise seed 0"),
    ]
    assert loaded(shown, 1) == (0, 1, 0, 2)
    assert not shown.locator("dialog[open]").count()


def test_a_shaky_click_opens_and_moves_nothing(shown):
    shown.locator("#alpha").fill("4")
    drag(shown, picture_of(shown, 0), right=0.02, down=0.02)
    assert shown.locator("#large-name").inner_text() == NAMES[0]
    shown.keyboard.press("Escape")
    shown.locator("#alpha").fill("0")
    # a real drag opens nothing, and what it left moves on with all others
    drag(shown, picture_of(shown, 0), right=0.2)
    assert not shown.locator("#large").is_visible()


def test_a_click_without_a_finger_opens_a_picture_that_was_dragged(shown):
    drag(shown, picture_of(shown, 0), right=0.2)
    assert not shown.locator("#large").is_visible()
    # the drag's own click is over a moment later
    shown.wait_for_function("!document.getElementById('tiles').dataset.justDragged")
    # as a screen reader clicks
    picture_of(shown, 0).evaluate("picture => picture.click()")
    assert shown.locator("#large-name").inner_text() == NAMES[0]


def test_dragging_across_changes_the_noise_seed(shown):
    drag(shown, picture_of(shown, 3), down=0.5)
    assert loaded(shown, 3) == (0, 3, 1, 2)
    drag(shown, picture_of(shown, 3), right=0.4, down=-0.5)
    assert loaded(shown, 3) == (0, 3, 0, 4)
    drag(shown, picture_of(shown, 3), down=0.5)
    assert announced(shown, 3) == "alpha +0.5, score 0.44, noise seed 7"


def test_a_run_keeps_alpha_and_shows_its_own_pictures(shown):
    drag(shown, picture_of(shown, 4), right=0.2, down=0.5)
    shown.get_by_role("radio", name="svm <&>").check()
    assert loaded(shown, 4) == (1, 4, 0, 3)
    # no noise, nothing across
    drag(shown, picture_of(shown, 4), down=0.9)
    assert loaded(shown, 4) == (1, 4, 0, 3)
    assert "noise" not in announced(shown, 4)


def test_a_finger_scrolls_where_dragging_across_does_nothing(shown):
    touch = "all => getComputedStyle(all[0]).touchAction"
    assert shown.eval_on_selector_all(".tile .picture", touch) == "pinch-zoom"
    assert shown.eval_on_selector_all(".tile .caption", touch) == "auto"
    shown.get_by_role("radio", name="svm <&>").check()
    assert shown.eval_on_selector_all(".tile .picture", touch) == "pan-y pinch-zoom"


def test_a_finger_drags_and_scrolls(open_page, written):
    page = open_page(written, phone=True)
    touch = page.context.new_cdp_session(page)

    def swipe(element, right, down):
        box = element.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for kind, share in (
            ("touchStart", 0),
            ("touchMove", 0.3),
            ("touchMove", 0.7),
            ("touchMove", 1),
            ("touchEnd", None),
        ):
            points = [] if share is None else [{"x": x + share * right, "y": y + share * down}]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    width = picture_of(page, 0).bounding_box()["width"]
    swipe(picture_of(page, 0), 0.4 * width, 0)
    assert loaded(page, 0) == (0, 0, 0, 4)
    swipe(picture_of(page, 0), 0, 0.5 * width)
    assert loaded(page, 0) == (0, 0, 1, 4)
    assert page.evaluate("scrollY") == 0
    swipe(page.locator(".tile .caption").first, 0, -150)
    page.wait_for_function("scrollY > 50")
    picture_of(page, 4).tap()
    assert page.locator("#large-name").inner_text() == NAMES[4]


def test_each_order(shown):
    # changes are the mean over both seeds; failures go by the worse seed
    expected = {
        "given": [0, 1, 2, 3, 4, 5],
        "score": [0, 5, 2, 4, 3, 1],
        "failures": [1, 4, 3, 2, 5, 0],
        "start": [5, 4, 3, 2, 1, 0],
        "class": [1, 3, 0, 2, 4, 5],
        "redness": [3, 2, 1, 5, 0, 4],
        "object size": [5, 4, 3, 1, 0, 2],
    }
    found = {}
    for key in expected:
        shown.select_option("#order", key)
        found[key] = order(shown)
    assert found == expected
    shown.select_option("#order", "name")
    # how letters of other scripts are sorted is the browser's business
    assert [latent for latent in order(shown) if latent in (0, 1, 5)] == [5, 0, 1]


def test_orders_are_turned_round(shown):
    shown.click("#reverse")
    assert order(shown) == [5, 4, 3, 2, 1, 0]
    shown.select_option("#order", "object size")
    # what has no object stays last
    assert order(shown) == [0, 1, 3, 4, 5, 2]


def test_orders_are_those_of_the_run(shown):
    shown.select_option("#order", "failures")
    shown.get_by_role("radio", name="svm <&>").check()
    assert order(shown) == sorted(range(6), key=lambda latent: CHANGES[latent])


def test_filters_hide_the_others(shown):
    assert shown.locator("#count").inner_text() == "6 pictures"
    shown.click("#filter")
    shown.fill("#name", "EYE")
    assert order(shown) == [0, 1, 5]
    assert shown.locator("#count").inner_text() == "3 of 6 pictures"
    shown.select_option("#class", "3")
    assert order(shown) == [0, 5]
    shown.fill("#most", "0.55")
    assert order(shown) == [5]
    assert shown.locator("#filter").inner_text() == "Filter (3)"
    shown.click("text=Show all")
    assert order(shown) == list(range(6))
    shown.check("#failures")
    assert order(shown) == [1, 3, 4]
    shown.uncheck("#failures")
    shown.select_option("#measure", "redness")
    shown.fill("#least", "1")
    assert order(shown) == [3]
    shown.fill("#least", "9")
    assert "No picture fits" in shown.locator("#count").inner_text()


def test_one_slider_moves_all(shown):
    drag(shown, picture_of(shown, 2), right=-0.4)
    shown.locator("#alpha").fill("3")
    assert [loaded(shown, latent)[3] for latent in (0, 2, 5)] == [3, 3, 3]
    assert shown.locator("#alpha-value").inner_text() == "+0.25"


def test_play_sweeps_all_until_it_is_stopped(shown):
    shown.click("#play")
    seen = shown.wait_for_function(
        "(window.seen ??= new Set()).add(document.querySelector('.tile').ariaValueNow) && seen.size === 5 && [...seen]",
        polling=20,
    ).json_value()
    assert sorted(map(float, seen)) == sorted(fake_evaluations.ALPHAS)
    shown.click("#play")
    held = announced(shown, 0)
    shown.wait_for_timeout(400)
    assert announced(shown, 0) == held


def test_an_address_holds_the_view(shown, open_page, written):
    assert state(shown) == ""
    shown.get_by_role("radio", name="svm <&>").check()
    shown.select_option("#order", "redness")
    shown.locator("#alpha").fill("4")
    shown.click("#filter")
    shown.select_option("#class", "3")
    picture_of(shown, 5).click()
    again = open_page(written, state(shown))
    assert order(again) == order(shown) == [2, 5, 0, 4]
    assert again.locator("#large-name").inner_text() == "Eye 1"
    again.keyboard.press("Escape")
    assert loaded(again, 0) == (1, 0, 0, 4)
    # another's address in the same window
    again.evaluate("location.hash = 'name=eye&order=nonsense&alpha=x'")
    again.wait_for_function("document.getElementById('count').textContent.startsWith('3 of 6')")
    assert order(again) == [0, 1, 5]


# notes which tiles are changed from now on
WATCH = """
window.changedTiles = new Set();
new MutationObserver(found => found.forEach(({ target }) => {
  const tile = target.closest(".tile");
  if (tile) changedTiles.add(+tile.dataset.latent);
})).observe(document.getElementById("tiles"), { attributes: true, childList: true, subtree: true });
"""


@pytest.mark.slow
def test_of_a_thousand_latents_few_have_pictures_and_a_drag_changes_its_own_alone(tmp_path, page):
    names = [f"latent {i}" for i in range(1000)]
    run = fake_evaluations.make_run(tmp_path, "one", 0, 1, names, grids=False)
    gallery.write(tmp_path, "A thousand", [run], [], [])
    # pictures are those of the first nine latents
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(request.url))
    page.goto((tmp_path / "index.html").as_uri())
    assert loaded(page, 0) == (0, 0, 0, 2)
    with_pictures = "document.querySelectorAll('.picture[style*=url]').length"
    assert 20 < page.evaluate(with_pictures) < 200
    assert 20 < sum("/sprites/" in address for address in asked) < 200
    # a dozen elements for each tile
    assert page.evaluate("document.querySelectorAll('*').length") < 15 * len(names)
    page.evaluate(WATCH)
    drag(page, picture_of(page, 3), right=0.4)
    assert loaded(page, 3) == (0, 3, 0, 4)
    assert page.evaluate("[...changedTiles]") == [3]
    page.select_option("#order", "score")
    assert [latent % 6 for latent in order(page)[:166]] == [0] * 166
    # at once only what is near the screen moves
    moved = """() => {
      changedTiles.clear();
      moveAll(0);
      return new Promise(done => queueMicrotask(() => done(changedTiles.size)));
    }"""
    assert 20 < page.evaluate(moved) < 200
    page.evaluate("scrollTo(0, document.body.scrollHeight / 2)")
    page.wait_for_timeout(300)
    assert 20 < page.evaluate(with_pictures) < 200
    # those far away are told as well
    page.wait_for_function("document.querySelector('.tile[data-latent=\"997\"]').ariaValueNow === '-0.5'")
