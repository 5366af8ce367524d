"""The paper in miniature, at a tenth of its size: every stage, with the real jobs, from breeding to the page."""

import json

import pytest

from tests import tiny_runs

LAUNCH = "import sys, launch; sys.exit(launch.main())"


@pytest.mark.slow
def test_the_miniature_runs_from_breeding_to_its_page(tmp_path):
    config = f"--config={tiny_runs.ROOT}/configs/miniature.py:tenth"
    words = [config, f"--workdir={tmp_path / 'run'}", "--job=paper"]
    done = tiny_runs.python(LAUNCH, *words, timeout=1200)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert set(summary["seconds"]) == {"breed", "images", "assessor", "judgement", "learned", "one_direction"}
    judged = json.loads((tmp_path / "run" / "judgement.json").read_text())
    # 240 pictures and 60 steps teach little; a seed that guesses would not be told apart from a broken one
    assert 0.3 < judged["assessor"]["validation"]["accuracy"] <= 1
    page = (tmp_path / "run" / "index.html").read_text()
    for part in ("nobody", "Artbreeder, 64 files", "mean colour", "statistics of y", "92 %"):
        assert part in page, part
    for name in ("learned", "one_direction"):
        evaluation = tmp_path / "run" / name / "evaluation" / "heldout-30"
        assert len(list((evaluation / "grids").iterdir())) == 8
    again = tiny_runs.python(LAUNCH, *words)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("before") >= 6  # every stage was finished
