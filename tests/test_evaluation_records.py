"""What an evaluation folder is opened with: records of strips, some damaged, and what a killed process left beside."""

import json
from types import SimpleNamespace

import pytest

from latentjax.report import evaluation

NAMES = ("a", "b", "c")
STRIPS = [SimpleNamespace(file=f"{name}.png") for name in NAMES]
FACTS = {"alphas": [0.0], "judges": {}}


def record(name):
    """Of strips.jsonl."""
    files = {"key": f"{name}:0", "file": f"{name}.png", "sprite": f"{name}.jpg", "name": name, "sha256": "0"}
    measured = {"latent": {"file": name, "sha256": "0"}, "measured": {"score": [0.5]}, "judged": {}, "tiles": ["0"]}
    return {**files, **measured, "noise_seed": 0, "class": 0, "batch": 2}


@pytest.fixture
def folder(tmp_path):
    """An evaluation folder of three strips."""
    for name in NAMES:
        for file in (f"grids/{name}.png", f"sprites/{name}.jpg"):
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text("")
    evaluation.write_strips(tmp_path, [record(name) for name in NAMES])
    return tmp_path


def damaged(folder, line):
    """The second record becomes `line`."""
    log = folder / "strips.jsonl"
    lines = log.read_bytes().splitlines()
    log.write_bytes(b"\n".join([lines[0], line, lines[2], b""]))


def test_strips_that_are_there_are_known(folder):
    assert evaluation.finished_strips(folder, FACTS, STRIPS) == {f"{name}.png": record(name) for name in NAMES}


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"3", b"\xff", b'{"file": "\xff"}', b"[" * 100_000])
def test_a_line_that_cannot_be_read_is_a_strip_to_be_made_again(folder, line):
    damaged(folder, line)
    assert evaluation.finished_strips(folder, FACTS, STRIPS).keys() == {"a.png", "c.png"}


@pytest.mark.parametrize("field", record("b"))
def test_a_record_without_a_field_or_with_another_kind_of_it_is_one_too(folder, field):
    others = {key: value for key, value in record("b").items() if key != field}
    for damage in ({}, {field: None}, {field: 0.5}, {field: True}):
        damaged(folder, json.dumps(others | damage).encode())
        assert evaluation.finished_strips(folder, FACTS, STRIPS).keys() == {"a.png", "c.png"}


def test_what_a_killed_process_left_is_cleared_away_and_nothing_else(folder):
    before = {path.name for path in folder.iterdir()}
    own = ("notes.txt", ".notes", ".transformers.d", "transformer")
    for name in (*own, ".transformer.x7_ab"):
        (folder / name).mkdir()
        (folder / name / "weights.safetensors").write_text("")
    for name in (".summary.json.123", ".strips.jsonl.9", ".index.html.7", ".12-0123456789abcdef.part"):
        (folder / name).write_text("half")
    (folder / "grids" / ".12-0123456789abcdef.part").write_text("half")
    assert len(evaluation.open_folder(folder, FACTS, STRIPS, {})) == 3
    assert {path.name for path in folder.iterdir()} == before | {"evaluation.json"} | set(own)
    assert (folder / "transformer" / "weights.safetensors").exists()
    assert len(list((folder / "grids").iterdir())) == 3
