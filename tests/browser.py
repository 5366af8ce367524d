"""A real browser for the tests of pages: the system's Chromium, by Playwright; any error on a page fails its test.

A test module says `pytest_plugins = ["tests.browser"]` and asks for the fixture `page`, or for `open_page`.
"""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",  # tests in a container run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def _missing(what: str) -> None:
    """Skips the test, except in CI, where nothing may be skipped unseen."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{what} is not installed")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A Chromium without a window, one for all tests of a process."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("the package playwright")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        _missing("Chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, headless=True, args=FLAGS)
        yield chromium
        chromium.close()


@contextlib.contextmanager
def watched_page(browser: Any, **options: Any) -> Iterator[Any]:
    """A fresh page, closed at the end; errors on it and requests that leave the machine fail the test.

    Args:
        browser: of the fixture `browser`.
        **options: of Playwright's `Browser.new_context`: viewport, color_scheme, reduced_motion, has_touch ...
    """
    wrong: list[str] = []
    context = browser.new_context(**DESKTOP | {"accept_downloads": True} | options)
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(f"not loaded: {request.url} ({request.failure})"))
    page.on("request", lambda request: wrong.append(request.url) if request.url.startswith(("http", "ws")) else None)
    try:
        yield page
    finally:
        context.close()
    assert not wrong


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens an HTML file on a page of its own: `open_page(path, "#hash", phone=True, color_scheme="dark")`."""
    with contextlib.ExitStack() as pages:

        def opened(path: pathlib.Path, address: str = "", *, phone: bool = False, **options: Any) -> Any:
            page = pages.enter_context(watched_page(browser, **(PHONE if phone else {}) | options))
            page.goto(path.resolve().as_uri() + address)
            return page

        yield opened


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """An empty page of a computer's size; go to a file with `page.goto(path.as_uri())`."""
    with watched_page(browser) as opened:
        yield opened
