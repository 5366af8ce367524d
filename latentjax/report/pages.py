"""HTML pages from the templates: they stand on their own but for the pictures beside them."""

import pathlib
from typing import Any

from latentjax.files import write_text

TEMPLATES = pathlib.Path(__file__).parent / "templates"


def write(folder: pathlib.Path, template: str, **fields: Any) -> None:
    """Writes or replaces index.html; texts among the fields may have any characters."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template(template).render(fields)
    # names of folders may hold what is no text
    write_text(folder / "index.html", page.encode("utf-8", "backslashreplace").decode("utf-8"))
