"""An assessor is measured beside trivial predictors, on the validation split and on unrelated families."""

import io
import json
import pathlib
from typing import Any

import numpy as np
import pytest
from flax import nnx
from PIL import Image

from latentjax import data, weights
from latentjax.data import images
from latentjax.jobs import judge
from tests import picture_sets
from tests.conversion import shorten_assessors

METRICS = {"count": 100, "accuracy": 0.9, "precision": 0.9, "recall": 0.9, "f1": 0.9, "auc": 0.95, "ece": 0.05}


def test_an_assessor_is_measured_beside_trivial_predictors(tmp_path, monkeypatch):
    fields = picture_sets.crowd(tmp_path, many=30, none=15, generated=15)
    examples = data.prepare(picture_sets.config(**fields), tmp_path / "run" / "data")
    save_assessor(tmp_path / "run" / "assessor", monkeypatch)
    (tmp_path / "run" / "report").mkdir()
    (tmp_path / "run" / "report" / "report.json").write_text(json.dumps({"metrics": METRICS}))
    keys = [record["key"] for split in ("train", "validation") for record in examples.source(split)]
    points = {pathlib.Path(key).stem: (np.ones(3), np.eye(3)[0] if "m" not in key else np.ones(3)) for key in keys}
    unrelated = [
        judge.Item(picture(i), i % 2, (np.ones(3), np.eye(3)[0] if i % 2 == 0 else np.ones(3))) for i in range(9)
    ]
    found = judge.judge(tmp_path / "run", examples.folder, points, unrelated)
    assert found["assessor"]["validation"] == METRICS
    assert found["assessor"]["unrelated"]["count"] == 9
    rows = {row["name"]: row for row in found["trivial"]}
    assert rows["statistics of y"]["validation"]["accuracy"] == rows["statistics of y"]["unrelated"]["accuracy"] == 1
    assert rows["mean colour"]["validation"]["count"] == sum(examples.counts["validation"].values())


class Watcher:
    """Stands for an assessor of 4 x 4 pixels; keeps what it is shown."""

    def __init__(self):
        self.config = {"output": "softmax", "image_size": 4}
        self.shown: list[np.ndarray] = []

    def logits(self, images):
        self.shown.append(np.asarray(images))
        return np.tile([0.0, 1.0], (len(images), 1))


def test_unrelated_pictures_are_resized_as_validation_pictures_are():
    levels = np.zeros((8, 8, 3), np.uint8)
    levels[::2] = 255  # lines that only antialiasing makes grey
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, format="PNG")
    watcher: Any = Watcher()
    found = judge.measured(watcher, [judge.Item(stream.getvalue(), 1)] * 2, ("plain", "bred"))
    assert found["count"] == 2
    due = images.decoded(stream.getvalue(), 4).astype(np.float32) / 127.5 - 1
    assert watcher.shown[0].shape == (judge.BATCH, 4, 4, 3)
    assert watcher.shown[0][0] == pytest.approx(due)
    assert abs(watcher.shown[0]).max() < 0.5


def picture(seed: int) -> bytes:
    stream = io.BytesIO()
    picture_sets.picture(seed).resize((8, 8)).save(stream, format="PNG")
    return stream.getvalue()


def save_assessor(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An EfficientNet of two blocks with random weights and two classes."""
    shorten_assessors(monkeypatch)
    settings = {"variant": "b0", "num_classes": 2, "image_size": 32, "output": "softmax"}
    arrays = weights.named(nnx.state(weights.build("efficientnet", settings)))
    weights.save(folder, arrays, "efficientnet", settings, {"file": "", "sha256": ""})


def test_labels_of_generated_pictures_are_in_their_names(tmp_path):
    (tmp_path / "00000").mkdir()
    lines, points = [], {}
    for i, name in enumerate(["bred-00007", "plain-00001", "fresh-00000"]):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / "00000" / f"{name}.png")
        lines.append(json.dumps({"file": f"00000/{name}.png", "name": name}))
        points[name] = (np.full(2, i), np.ones(2))
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
    items = judge.pictures_of(tmp_path, points)
    assert [item.label for item in items] == [1, 0, 0]
    assert [item.latent[0][0] for item in items] == [0, 1, 2]
