"""The main job on real input: PyTorch files are converted, a map is learned, Artbreeder latents become strips."""

import json

import pytest

import launch
from tests.conversion import run_command


@pytest.mark.slow
def test_convert_learn_and_evaluate(reference, tmp_path, monkeypatch):
    """The README's commands, shortened to what 2 CPU cores do in minutes."""
    weights, run = tmp_path / "weights", tmp_path / "run"
    golden = reference / "golden"
    for source, name in (("biggan512_ch8.pth", "biggan512"), ("best_v070.pth", "creative")):
        assert run_command("converters", str(golden / source), str(weights / name)) == 0
    latents = tmp_path / "latents"
    latents.mkdir()
    for path in sorted((reference / "artbreeder" / "latents").iterdir())[:8]:
        (latents / path.name).write_bytes(path.read_bytes())
    flags = [
        "--config=configs/creativity.py",
        f"--workdir={run}",
        f"--config.generator.weights={weights / 'biggan512'}",
        f"--config.assessor.weights={weights / 'creative'}",
        "--config.assessor.calibrate=true",
        "--config.train.num_steps=60",
        "--config.train.learning_rate=0.003",
        "--config.train.samples_every=0",
        "--config.evaluate.before_train=true",
        f"--config.evaluate.latents={latents}",
    ]
    monkeypatch.setattr("sys.argv", ["launch.py", *flags])
    assert launch.main() == 0
    before, after = (json.loads((run / "evaluation" / f"latents-{s}" / "summary.json").read_text()) for s in (0, 60))
    assert len(list((run / "evaluation" / "latents-60" / "grids").iterdir())) == 8
    assert after["achieved"] > before["achieved"] + 0.05
