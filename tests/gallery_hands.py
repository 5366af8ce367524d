"""What tests do with the gallery in a browser: drag its pictures, and tell by a colour which are on the screen."""

import io

from PIL import Image

from tests.fake_evaluations import told_by

COLUMNS = [2, 4, 0, 3, 1]  # of the ascending alphas in a sprite


def pixel(page, element, across: float = 0.5, down: float = 0.5) -> tuple[int, ...]:
    """The colour in an element, as the screen has it, so far across and down; in its middle."""
    # what was asked to be drawn is drawn two frames later
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    with Image.open(io.BytesIO(element.screenshot(animations="disabled"))) as image:
        return image.convert("RGB").getpixel((int(across * image.width), int(down * image.height)))


def picture_of(page, latent: int):
    return page.locator(f'.tile[data-latent="{latent}"] .picture')


def loaded(page, latent: int) -> tuple[int, int, int, int]:
    """(run, latent, seed's place, ascending alpha's place) of the picture that a tile shows."""
    picture = picture_of(page, latent)
    picture.scroll_into_view_if_needed()
    # a picture that is still being read leaves the grey below it, which is no tile's colour
    for _ in range(50):
        told = told_by(pixel(page, picture))
        if told[1] == latent:
            break
    run, latent, seed, column = told
    return run, latent, seed, COLUMNS.index(column)


def drag(page, element, right: float = 0, down: float = 0) -> None:
    """By so many of the element's widths and heights, from its middle."""
    element.scroll_into_view_if_needed()
    box = element.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right * box["width"], y + down * box["height"], steps=4)
    page.mouse.up()


def announced(page, latent: int) -> str:
    return page.locator(f'.tile[data-latent="{latent}"]').get_attribute("aria-valuetext")


def order(page) -> list[int]:
    return [
        int(found)
        for found in page.eval_on_selector_all(".tile:not([hidden])", "all => all.map(x => x.dataset.latent)")
    ]
