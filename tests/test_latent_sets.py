"""Sets of latents: what a file says, and who made it."""

import json
import pathlib

import numpy as np

from latentjax import data
from tests.picture_sets import config, left_out, refusal


def latent_files(folder: pathlib.Path, count: int, latent_dim: int = 5) -> pathlib.Path:
    folder.mkdir()
    for i in range(count):
        told = {"truncation": 0.5} if i % 2 else {}
        entry = {"latent": [i + 1.0] * latent_dim, "classes": [[i, -0.5], [7, 1.25]], **told}
        (folder / f"info?k={i}.1").write_text(json.dumps(entry))
    return folder


def test_latents_are_kept_with_their_users(tmp_path):
    fields = {"kind": "artbreeder_latents", "latents": str(latent_files(tmp_path / "latents", 5))}
    (tmp_path / "users.csv").write_text("name,user\ninfo?k=1.1,Ada\ninfo?k=2.1,Bo\ngone,Cy\n")
    made = data.prepare(config(**fields, users=str(tmp_path / "users.csv")), tmp_path / "set")
    assert (made.task, made.names, made.counts) == ("latents", (), {"train": {"latents": 5}})
    found = {record["name"]: record for record in made.source("train")}
    assert found["info?k=3.1"]["z"].tolist() == [4.0] * 5
    assert found["info?k=3.1"]["y"].tolist() == [0, 0, 0, -0.5, 0, 0, 0, 1.25]
    assert found["info?k=3.1"]["truncation"] == 0.5
    assert np.isnan(found["info?k=2.1"]["truncation"])
    assert [found[f"info?k={i}.1"]["user"] for i in range(5)] == ["", "Ada", "Bo", "", ""]
    assert list(left_out(tmp_path / "set")) == ["gone"]
    again = config(**fields, users=str(tmp_path / "users.csv"))
    assert data.prepare(again, tmp_path / "set") == made
    assert "5 of another label" not in refusal(tmp_path / "set", **fields)
    assert "2 of another label (info?k=1.1, ...)" in refusal(tmp_path / "set", **fields)


def test_latents_of_a_biggan_have_a_thousand_classes(tmp_path):
    folder = latent_files(tmp_path / "latents", 3, latent_dim=128)
    fields = {"kind": "artbreeder_latents", "latents": str(folder)}
    assert len(data.prepare(config(**fields), tmp_path / "set").source("train")[0]["y"]) == 1000
    (folder / "info?k=9").write_text(json.dumps({"latent": [1.0] * 128, "classes": [[1000, 1.0]]}))
    assert "class index 1000, outside 0 to 999" in refusal(tmp_path / "other", **fields)


def test_bad_latents_are_told_or_left_out(tmp_path):
    folder = latent_files(tmp_path / "latents", 3)
    (folder / "info?k=0.1").write_text("{")
    (folder / "info?k=9.1").write_text("[]")
    fields = {"kind": "artbreeder_latents", "latents": str(folder)}
    assert "info?k=0.1: is not JSON (line 1" in (line := refusal(tmp_path / "set", **fields))
    assert "(and 1 more bad files); mend or remove it, or leave bad files out (--config.data.skip_bad=true)" in line
    made = data.prepare(config(**fields, skip_bad=True), tmp_path / "set")
    assert made.counts == {"train": {"latents": 2}}
    assert [why.partition(":")[0] for why in left_out(tmp_path / "set").values()] == ["bad", "bad"]


def test_published_latents_are_read(reference, tmp_path):
    fields = {"kind": "artbreeder_latents", "latents": str(reference / "artbreeder" / "latents")}
    made = data.prepare(config(**fields), tmp_path / "set")
    record = made.source("train")[0]
    assert (made.counts, record["z"].shape, record["y"].shape) == ({"train": {"latents": 64}}, (128,), (1000,))
    assert 0.05 <= record["truncation"] < 1
