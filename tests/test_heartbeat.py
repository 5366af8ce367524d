"""Signs of life: a line and a file, now and then, that say how far it is and how long it takes."""

import json

import pytest

from latentjax import heartbeat
from latentjax.heartbeat import Heartbeat


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests set."""
    now = [1000.0]
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: now[0])
    return now


def test_it_tells_every_half_minute(tmp_path, clock, caplog):
    caplog.set_level("INFO")
    heart = Heartbeat(tmp_path, "train", "samples", 8, 100, 1100)
    clock[0] += 29
    heart.beat(110)
    # of its beginning: what compiles first may take minutes
    record = json.loads((tmp_path / "heartbeat.json").read_text())
    assert (record["step"], record["of"], record["samples_per_second"], record["eta_seconds"]) == (100, 1100, 0, None)
    clock[0] += 11
    heart.beat(120)
    record = json.loads((tmp_path / "heartbeat.json").read_text())
    assert (record["step"], record["of"], record["from_step"], record["seconds"]) == (120, 1100, 100, 40.0)
    assert record["samples_per_second"] == pytest.approx(20 * 8 / 40)
    assert record["eta_seconds"] == pytest.approx(980 * 2)
    assert record["host_memory"] > 2**20
    assert "train: 120 of 1100, 4 samples/s, 32 min 40 s to go, memory " in caplog.text
    heart.beat(121)
    assert json.loads((tmp_path / "heartbeat.json").read_text()) == record


def test_it_beats_along_with_items(tmp_path, clock):
    heart = Heartbeat(tmp_path, "seed0", "images", 1, 0, 3)
    for _ in heart.along("abc"):
        clock[0] += 20
    record = json.loads((tmp_path / "heartbeat.json").read_text())
    assert (record["doing"], record["step"], record["images_per_second"]) == ("seed0", 2, 2 / 40)


def test_the_fullest_device_is_told():
    class Device:
        def __init__(self, used):
            self.used = used

        def memory_stats(self):
            return {"bytes_in_use": self.used, "peak_bytes_in_use": 2 * self.used, "bytes_limit": 16 * 2**30}

    memory = heartbeat.memory_of([Device(2**30), Device(3 * 2**30), Device(5)])
    assert memory["device_memory_peak"] == 6 * 2**30
    assert heartbeat.told(memory) == "device memory 3.00 of 16.0 GiB"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (7200, "2 h"),
        (4 * 86_400 + 10_800, "4 d 3 h"),
    ],
)
def test_lengths_of_time_in_words(seconds, said):
    assert heartbeat.lasting(seconds) == said
