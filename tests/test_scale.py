"""The arithmetic of docs/scale.md, on figures that can be worked out by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import scale, scale_measured
from latentjax import command_line


def test_an_all_reduce_sends_everything_twice_but_its_own_part():
    # two members: each sends its half, and then the other half's sum back
    assert scale.all_reduce_seconds(100.0, 2, 10.0) == 10.0
    assert scale.all_reduce_seconds(100.0, 10**6, 10.0) == pytest.approx(20.0, rel=1e-5)


def test_the_interval_between_checkpoints_loses_least():
    save, between, restart = 2.0, 10_000.0, 300.0
    best = scale.interval(save, between)
    assert best == 200.0
    # 2 of 200 seconds saving, half an interval and a restart of 10,000 lost
    assert scale.lost(save, between, best, restart) == pytest.approx(0.01 + 0.01 + 0.03)
    for other in (0.5 * best, 2 * best):
        assert scale.lost(save, between, other, restart) > scale.lost(save, between, best, restart)


def test_the_rectifier_grows_from_nothing_to_adam():
    assert [scale.rectified(step) for step in (1, 5)] == [0.0, 0.0]
    # Liu et al., equation 4, at step 98 with beta2 = .999
    rho = 1999 - 2 * 98 * 0.999**98 / (1 - 0.999**98)
    expected = math.sqrt((rho - 4) * (rho - 2) * 1999 / ((1999 - 4) * (1999 - 2) * rho))
    assert scale.rectified(98) == pytest.approx(expected)
    assert scale.rectified(20_000) == pytest.approx(1, abs=1e-3)


def test_the_noise_scale_of_known_gradients():
    gradients = np.random.default_rng(0).normal([3.0, 4.0, 0.0], 5.0, (200_000, 3))
    assert scale_measured.noise_scale(gradients) == pytest.approx(3 * 5**2 / (3**2 + 4**2), rel=0.05)
    assert scale_measured.noise_scale(np.array([[1.0], [-1.0]])) == math.inf


def test_tables_follow_from_what_is_assumed(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["scale", "--png-bytes=1000", "--price-per-gb-month=0.5", "--host-hours=20"])
    assert command_line.run(scale.main) == 0
    told = capsys.readouterr().out
    # a thousand gigabytes; 64 hosts that each last 20 hours
    assert "| PNG of 1,000 | 1 | 500 |" in told
    assert "| v5e:16x16 | 64 | 0.3 |" in told


def chosen(**changes):
    """What the reader assumes."""
    defaults = {name.replace("-", "_"): value for name, (value, _) in scale.ASSUMED.items()}
    return SimpleNamespace(**defaults | changes)


def test_a_set_takes_as_long_as_its_busiest_process():
    v5e = scale.SLICES[1]
    shared = scale.Recipe(v5e, chips=4, sets=1000, members=64)
    # a million images are 100 shards; of 64 processes 36 make two
    assert (shared.images, shared.most, shared.in_turn) == (10**6, 20_000, 1000)
    alone = scale.Recipe(v5e, chips=1, sets=256)
    assert (alone.images, alone.most, alone.in_turn) == (3_906_250, 3_906_250, 1)
    assert scale.Recipe(v5e, chips=1, sets=257).in_turn == 2


def test_the_slowest_of_chips_cores_and_writing_sets_the_pace():
    recipe = scale.Recipe(scale.SLICES[1], chips=4, sets=64)
    # 1,546 a second of the chips, 28 x 4 x 10 of the cores; half of each where a core has half the speed
    assert recipe.rates(chosen(core_speed=1.0, png_per_second=10.0))[1:] == (1120.0, 1000.0)
    start, making, finish = recipe.seconds(chosen(core_speed=0.5, shards_per_second=800.0, finish_microseconds=8.0))
    assert (start, making, finish) == (300.0, 15_625_000 / 400, 250.0)


def test_a_sum_through_one_port_takes_longest_among_many_slices(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["scale", "--only=training"])
    assert command_line.run(scale.main) == 0
    # 8,392,204 bytes at 12.5 GB/s: once between two, nearly twice among a thousand
    assert "| 0.671 | 1.341 |" in capsys.readouterr().out


def test_an_unknown_table_is_refused(refused):
    assert refused(lambda: command_line.run(scale.main), "--only=all").startswith("--only: 'all' is unknown; use some")
