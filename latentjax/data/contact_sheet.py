"""A page that shows what a prepared set holds: a row of pictures for each class."""

import itertools

from PIL import Image

from latentjax import pictures
from latentjax.data.examples import Example
from latentjax.data.images import resized

COLUMNS = 12
ROWS = 40  # of more classes, the first
TILE = 96  # pixels
_GAP = 4


def choose(examples: list[Example], captions: dict[str, str]) -> dict[str, list[Example]]:
    """Caption to the pictures of each row: the first of each group, or of each quarter of the scores.

    Args:
        examples: in the order of a hash of their keys, so that the first are any.
        captions: of the groups, in the order of the rows; none where labels are scores.
    """
    if captions:
        held: dict[str, list[Example]] = {group: [] for group in itertools.islice(captions, ROWS)}
        for example in examples:
            if example.group in held:
                held[example.group].append(example)
        told = {f"{captions[group]} ({len(members)})": members for group, members in held.items() if members}
        return {caption: members[:COLUMNS] for caption, members in told.items()}
    ranked = sorted(examples, key=lambda example: example.label)
    size = -(-len(ranked) // 4)
    quarters = [ranked[start : start + size] for start in range(0, len(ranked), size)]
    shown = [quarter[:: max(1, len(quarter) // COLUMNS)][:COLUMNS] for quarter in quarters]
    return {
        f"{quarter[0].label:.4g} to {quarter[-1].label:.4g}": row for quarter, row in zip(quarters, shown, strict=True)
    }


def thumbnail(image: Image.Image) -> Image.Image:
    """What the sheet keeps of a picture."""
    return resized(image, TILE)


def draw(rows: dict[str, list[Example]], thumbnails: dict[str, Image.Image], title: str) -> Image.Image:
    """The sheet.

    Args:
        rows: from `choose`.
        thumbnails: by key.
        title: a line above.
    """
    strips = []
    for members in rows.values():
        strip = Image.new("RGB", (COLUMNS * (TILE + _GAP), TILE + _GAP), pictures.PAPER)
        for example, left in zip(members, itertools.count(0, TILE + _GAP)):
            strip.paste(thumbnails[example.key], (left, 0))
        strips.append(strip)
    return pictures.overview(strips, list(rows), title=title)
