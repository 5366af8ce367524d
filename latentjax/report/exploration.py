"""What is written about a map of latents: a table, a figure as in the paper (Figure 3), and a page to explore it on."""

import colorsys
import csv
import dataclasses
import io
import pathlib
from typing import Any

import numpy as np
from PIL import Image

from latentjax.exploration import Map, nearest
from latentjax.files import write_json, write_text
from latentjax.report import pages
from latentjax.report.drawing import drawable, legend, new_figure, short, write

# of eight groups at most: told apart by most eyes, on white and on black (Okabe and Ito, and two more)
FEW = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#b22222", "#7f7f00")
GREY, INK = "#9a9a9a", "#333333"
SHOWN = 9  # thumbnails of a cluster beside the map
COLUMNS = 3  # of them
LEGEND = 14  # groups that the figure names


@dataclasses.dataclass(frozen=True)
class Exploration:
    """N latents and their map.

    Attributes:
        title: of the page and the figure.
        names: [N].
        users: [N], "" where none is known.
        classes: [N], None without classes.
        groups: [N], the coloured group of each or "".
        coloured: the groups in the order of the legend.
        map: see there.
        thumbnails: [N] files in thumbnails/, or none at all.
        facts: further entries of summary.json.
        notes: sentences for the page.
    """

    title: str
    names: list[str]
    users: list[str]
    classes: list[int | None]
    groups: list[str]
    coloured: list[str]
    map: Map
    thumbnails: list[str]
    facts: dict[str, Any]
    notes: list[str]

    @property
    def clusters(self) -> list[list[int]]:
        """Indices of the latents that stand for each cluster."""
        return [nearest(self.map, cluster, SHOWN) for cluster in range(len(self.map.centres))]

    @property
    def marks(self) -> list[tuple[float, float]]:
        """Where each cluster's number stands: on a latent, for a centre may lie in the void between two groups."""
        return [(float(x), float(y)) for x, y in self.map.xy[[members[0] for members in self.clusters]]]


def colours(count: int) -> list[str]:
    """So many colours as "#rrggbb"; of more than eight, hues around the circle, lighter and darker in turn."""
    if count <= len(FEW):
        return list(FEW[:count])
    levels = (colorsys.hls_to_rgb(i / count, (0.42, 0.62)[i % 2], 0.7) for i in range(count))
    return ["#" + "".join(f"{round(255 * level):02x}" for level in rgb) for rgb in levels]


def report(folder: pathlib.Path, explored: Exploration) -> dict[str, Any]:
    """Writes map.csv, map.png, index.html and summary.json; returns the summary."""
    found = explored.map
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["name", "user", "class", "cluster", "x", "y"])
    columns = (explored.names, explored.users, explored.classes, found.clusters + 1, found.xy.round(6))
    for name, user, label, cluster, xy in zip(*columns, strict=True):
        rows.writerow([name, user, "" if label is None else label, cluster, *map(float, xy)])
    summary = {
        "latents": len(explored.names),
        **explored.facts,
        "explained_variance": [round(share, 6) for share in found.explained_variance],
        "divergence": round(found.divergence, 6),
        "clusters": [
            {"number": i + 1, "latents": int((found.clusters == i).sum()), "nearest": [explored.names[j] for j in near]}
            for i, near in enumerate(explored.clusters)
        ],
    }
    write_text(folder / "map.csv", table.getvalue())
    draw(folder / "map.png", folder / "thumbnails", explored)
    write_page(folder, explored)
    write_json(folder / "summary.json", summary)
    return summary


def draw(path: pathlib.Path, thumbnails: pathlib.Path, explored: Exploration) -> str:
    """The map, with a sheet of thumbnails of each cluster to its left or right, joined to it by a line.

    Args:
        path: the PNG to write; it appears only when complete.
        thumbnails: the folder of explored.thumbnails.
        explored: what is drawn.

    Returns:
        The sha256 of the file, in hex.
    """
    panels = bool(explored.thumbnails)
    figure = new_figure(15 if panels else 9, 9, layout=None)
    axes = figure.add_axes((0.24, 0.13, 0.52, 0.8) if panels else (0.03, 0.13, 0.94, 0.8))
    _draw_points(axes, explored)
    if panels:
        _draw_sheets(figure, axes, thumbnails, explored)
    for number, (x, y) in enumerate(explored.marks, 1):
        ring = {"boxstyle": "circle,pad=.25", "facecolor": "white", "edgecolor": INK}
        axes.text(x, y, number, ha="center", va="center", color=INK, fontsize=11, weight="bold", bbox=ring, zorder=4)
    figure.suptitle(drawable(explored.title), parse_math=False, y=0.97, fontsize=13)
    return write(figure, path)


def _draw_points(axes: Any, explored: Exploration) -> None:
    """The map's points, grey ones below, and the names of their colours."""
    xy, groups = explored.map.xy, np.array(explored.groups)
    size = float(np.clip(12000 / len(xy), 8, 70))
    handles, names = [], []
    for group, colour in (("", GREY), *zip(explored.coloured, colours(len(explored.coloured)), strict=True)):
        members = xy[groups == group]
        if len(members):
            marked = axes.scatter(*members.T, s=size, color=colour, alpha=0.85 if group else 0.5, linewidths=0)
            handles.append(marked)
            names.append(f"{short(group) if group else 'others'} ({len(members)})")
    axes.set(xlim=(-1.08, 1.08), ylim=(-1.08, 1.08), xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)
    if explored.coloured:
        # the grey ones are told last
        handles, names = handles[1:] + handles[:1], names[1:] + names[:1]
        if not (np.array(explored.groups) == "").any():
            handles, names = handles[-1:] + handles[:-1], names[-1:] + names[:-1]
        if len(names) > LEGEND:
            handles, names = handles[:LEGEND], [*names[: LEGEND - 1], f"and {len(names) - LEGEND + 1} more"]
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "ncols": 5, "frameon": False, "fontsize": 9}
        legend(axes, handles, names, **place)


def _draw_sheets(figure: Any, axes: Any, folder: pathlib.Path, explored: Exploration) -> None:
    """The thumbnails of each cluster, in a column on either side."""
    from matplotlib.patches import ConnectionPatch

    clusters = explored.clusters
    left = -(-len(clusters) // 2)
    for number, members in enumerate(clusters):
        right, rows = number >= left, left if number < left else len(clusters) - left
        row = number - left if right else number
        height = 0.92 / rows
        side = min(0.19, (height - 0.03) * 9 / 15)
        bottom = 0.96 - (row + 0.5) * height - side * 15 / 18
        sheet = figure.add_axes((0.79 if right else 0.02 + 0.19 - side, bottom, side, side * 15 / 9))
        sheet.imshow(_sheet([folder / explored.thumbnails[i] for i in members]))
        sheet.set(xticks=[], yticks=[])
        sheet.spines[:].set(color=INK, linewidth=1.2)
        count = int((explored.map.clusters == number).sum())
        sheet.set_title(f"{number + 1}  ({count})", fontsize=10, color=INK, pad=3, loc="left")
        ends = {"xyA": (0 if right else 1, 0.5), "coordsA": sheet.transAxes}
        line = ConnectionPatch(**ends, xyB=explored.marks[number], coordsB=axes.transData)
        line.set(color=INK, linewidth=0.9, alpha=0.7, zorder=3)
        figure.add_artist(line)


def _sheet(files: list[pathlib.Path]) -> Image.Image:
    """Thumbnails in rows of three on white."""
    tiles = [Image.open(file) for file in files]
    width, height = tiles[0].size
    sheet = Image.new("RGB", (COLUMNS * (width + 2) - 2, -(-SHOWN // COLUMNS) * (height + 2) - 2), "white")
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (i % COLUMNS * (width + 2), i // COLUMNS * (height + 2)))
    return sheet


def write_page(folder: pathlib.Path, explored: Exploration) -> None:
    """index.html: the map to look around in, by pointer and by keyboard."""
    found, palette = explored.map, colours(len(explored.coloured))
    place = {group: number for number, group in enumerate(explored.coloured)}
    points = [
        {
            "name": explored.names[i],
            "user": explored.users[i],
            "label": explored.classes[i],
            "cluster": int(found.clusters[i]) + 1,
            "group": place.get(explored.groups[i], -1),
            "x": round(float(x), 4),
            "y": round(float(-y), 4),  # downwards, as pages count
            "file": explored.thumbnails[i] if explored.thumbnails else "",
        }
        for i, (x, y) in enumerate(found.xy)
    ]
    counts = [explored.groups.count(group) for group in explored.coloured]
    groups = [
        {"name": name, "colour": colour, "count": count}
        for name, colour, count in zip(explored.coloured, palette, counts, strict=True)
    ]
    clusters = [
        {"number": i + 1, "x": x, "y": -y, "count": int((found.clusters == i).sum()), "members": members}
        for i, ((x, y), members) in enumerate(zip(explored.marks, explored.clusters, strict=True))
    ]
    pages.write(
        folder,
        "exploration.html",
        title=explored.title,
        points=points,
        groups=groups,
        grey=explored.groups.count(""),
        clusters=clusters,
        notes=explored.notes,
        variance=found.explained_variance,
    )
