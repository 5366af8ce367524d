"""Figures from finished evaluations."""

import csv
import itertools
import json

import numpy as np
import pytest
from PIL import Image

from latentjax.errors import InputError
from latentjax.report import __main__ as report
from latentjax.report import figures


def evaluation(folder, offset: float = 0.0, names: str = "abcde", seeds: int = 1):
    """A made evaluation folder whose latent i changes by i / 10; every further noise seed adds .1."""
    (folder / "grids").mkdir(parents=True)
    alphas = [-0.5, 0.0, 0.5]
    (folder / "summary.json").write_text(json.dumps({"alphas": alphas}))
    with open(folder / "scores.csv", "w") as file, open(folder / "manifest.jsonl", "w") as manifest:
        table = csv.writer(file)
        table.writerow(["name", "noise_seed", "alpha", "score", "redness"])
        for i, name in enumerate(names):
            colour = (50 * i, 0, 0)
            Image.new("RGB", (90, 30), colour).save(folder / "grids" / f"{name}.png")
            for seed, alpha in itertools.product(range(seeds), alphas):
                table.writerow([name, seed, alpha, 0.5 + offset + seed / 10 + i * alpha / 10, 0.1])
                record = {"name": name, "noise_seed": seed, "alpha": alpha, "strip": f"{name}.png"}
                manifest.write(json.dumps(record) + "\n")
    return folder


def test_curves_of_several_runs(tmp_path, monkeypatch):
    drawn, draw = {}, figures.curves.draw

    def watched(out, alphas, panels, **settings):
        drawn.update(panels)
        draw(out, alphas, panels, **settings)

    monkeypatch.setattr(figures.curves, "draw", watched)
    runs = [f"{label}={evaluation(tmp_path / label, offset)}" for label, offset in (("one", 0.0), ("two", 0.1))]
    report.command(["curves", str(tmp_path / "out.png"), *runs])
    assert Image.open(tmp_path / "out.png").width > 500
    for label, middle in (("one", 0.5), ("two", 0.6)):
        assert list(drawn[label]) == ["score", "redness"]
        # strip i changes by i / 10 over an alpha of 1
        assert drawn[label]["score"].mean(axis=0) == pytest.approx([middle - 0.1, middle, middle + 0.1])


def test_curves_of_runs_with_other_noise_are_of_the_same_latents(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(figures.curves, "draw", lambda out, alphas, panels, **told: drawn.update(panels | told))
    runs = {"one": evaluation(tmp_path / "x"), "three": evaluation(tmp_path / "y", names="edcba", seeds=3)}
    figures.draw_curves(tmp_path / "out.png", runs)
    assert drawn["title"] == "5 or 15 strips of 5 latents"
    # latent i of the first is 4 - i of the second, whose three seeds add .1 on average
    changes = [drawn[label]["score"][:, 2] - drawn[label]["score"][:, 0] for label in runs]
    np.testing.assert_allclose(changes[0], changes[1][::-1])
    np.testing.assert_allclose(drawn["three"]["score"][:, 1], 0.6)


def test_two_runs_of_one_label_are_refused(tmp_path):
    folder = evaluation(tmp_path / "x")
    with pytest.raises(InputError, match="'x' twice"):
        report.command(["curves", str(tmp_path / "out.png"), str(folder), f"x={folder}"])


def test_curves_of_different_latents_are_refused(tmp_path):
    runs = [f"x={evaluation(tmp_path / 'x')}", f"y={evaluation(tmp_path / 'y', names='abcdf')}"]
    with pytest.raises(InputError, match="other latents"):
        report.command(["curves", str(tmp_path / "out.png"), *runs])


def test_strips_are_chosen_by_rank_of_the_change(tmp_path):
    report.command(["strips", str(tmp_path / "out.png"), str(evaluation(tmp_path / "e")), "--count=3"])
    sheet = np.asarray(Image.open(tmp_path / "out.png"))
    # ranks 1, 3 and 5 of five strips whose change grows with their redness
    assert [int(sheet[row, -45, 0]) for row in (15, 45, 75)] == [200, 100, 0]


def test_a_folder_that_is_no_evaluation_is_refused(tmp_path):
    with pytest.raises(InputError, match="no finished evaluation"):
        report.command(["strips", str(tmp_path / "out.png"), str(tmp_path)])
