"""Fixtures that several test files share."""

import os
import pathlib

import pytest


@pytest.fixture(scope="session")
def reference() -> pathlib.Path:
    """The folder of published systems' numbers; tests that need it are skipped where it is not given."""
    folder = os.environ.get("LATENTJAX_REFERENCE")
    if not folder:
        pytest.skip("LATENTJAX_REFERENCE is not set")
    return pathlib.Path(folder)
