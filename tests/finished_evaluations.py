"""Finished evaluation folders by hand, for tests of what is made from them."""

import json
import pathlib

import numpy as np
from PIL import Image

from latentjax.report import quality, statistics

ALPHAS = [-0.5, -0.3, 0.0, 0.3, 0.5]
COUNT = 12


def scores_of(slope: float, seed: int = 0, count: int = COUNT) -> np.ndarray:
    """Scores [count, 5] of latents that differ a lot, and of a slope that differs a little from latent to latent."""
    random = np.random.default_rng(seed)
    start = np.random.default_rng(9).uniform(0.3, 0.7, (count, 1))
    return start + (slope + 0.05 * random.normal(size=(count, 1))) * np.array(ALPHAS)


def evaluation(
    folder: pathlib.Path,
    scores: np.ndarray,
    *,
    seeds: int = 1,
    missing: tuple[int, ...] = (),
    prefix: str = "latent",
    **facts,
) -> pathlib.Path:
    """A finished evaluation by hand: strip i is as red as i; those in `missing` lack an object at one alpha."""
    (folder / "grids").mkdir(parents=True)
    records = []
    for i, row in enumerate(scores):
        for seed in range(seeds):
            size = [0.1 * (1 + i)] * len(ALPHAS)
            if len(records) in missing:
                size[1] = float("nan")
            file = f"{prefix}{i}-{seed}.png"
            Image.new("RGB", (90, 20), (20 * i, 0, seed)).save(folder / "grids" / file)
            measured = {"score": row.tolist(), "redness": (row + 0.5).tolist(), "object size": size}
            records.append(
                {"key": f"content{prefix}{i}:{seed}", "file": file, "name": f"{prefix}{i}", "noise_seed": seed}
                | {"measured": measured, "judged": {}, "class": 0, "sprite": file, "latent": {}}
            )
    names = list(records[0]["measured"])
    latents = [record["name"] for record in records]
    arrays = {name: np.array([record["measured"][name] for record in records]) for name in names}
    summary = statistics.summarise(arrays.pop("score"), ALPHAS, arrays, latents=latents)
    summary["quality"] = quality.measure(records, ALPHAS, [], {}, True)
    known = {"alphas": ALPHAS, "bounded": True, "generator": "G", "assessor": "A", "tile": 16} | facts
    known["judged_alphas"] = []
    known["strips"] = [record["file"] for record in records]
    (folder / "evaluation.json").write_text(json.dumps(known))
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "strips.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder
