"""Where the tiles are in a strip that `pictures.strip` drew, from the size of its picture."""

import math
import pathlib
from typing import Any

from PIL import Image


def of_file(path: pathlib.Path, count: int) -> dict[str, Any] | None:
    """`boxes` of a picture's file; None where it is missing or no picture."""
    try:
        with Image.open(path) as image:
            return boxes(*image.size, count)
    except OSError:
        return None


def boxes(width: int, height: int, count: int) -> dict[str, Any] | None:
    """The tiles of a strip with a title, by the rules of `pictures.strip`.

    Args:
        width, height: of the strip, in pixels.
        count: number of its tiles, which are square.

    Returns:
        {"size": [width, height], "tile": side of a tile, "top": its upper edge, "left": [left edge of each]},
        all in pixels; None where no such strip has this size.
    """
    for tile in range(1, height):
        gap, line = max(4, tile // 32), math.ceil(1.5 * max(10, 6 + tile // 20))
        top = gap + line
        # the height grows with the tile
        if top + tile + gap // 2 + line >= height:
            break
    else:
        return None
    column, rest = divmod(width - gap - count * gap, count)
    if top + tile + gap // 2 + line != height or rest or column < tile:
        return None
    # a column is wider than its tile where the label below is
    left = [gap + i * (column + gap) + column // 2 - tile // 2 for i in range(count)]
    return {"size": [width, height], "tile": tile, "top": top, "left": left}
