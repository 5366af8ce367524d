"""What run.json says of all starts, and the share of their time that counted."""

import json

import pytest

from latentjax import starts


def start(began, ended, first, last, seconds, **more):
    return {"began": began, "ended": ended, "from_step": first, "step": last, "seconds": seconds} | more


def test_one_start_counts_but_for_what_is_not_steps():
    found = starts.goodput([start(0, 100, 0, 50, 80.0)])
    assert found == (1, 100, 80.0)
    assert found.share == 0.8


def test_steps_that_were_done_again_do_not_count():
    # the first reached step 50 and was gone on with from 40
    found = starts.goodput([start(0, 100, 0, 50, 80.0), start(200, 260, 40, 90, 50.0)])
    assert found.seconds == 160
    assert found.useful == pytest.approx(80.0 * 40 / 50 + 50.0)


def test_a_start_that_saved_nothing_counts_for_nothing():
    found = starts.goodput([start(0, 100, 0, 30, 80.0), start(200, 300, 0, 90, 90.0)])
    assert found.useful == pytest.approx(90.0)


def test_the_start_that_is_not_over_counts_until_now(monkeypatch):
    monkeypatch.setattr(starts.time, "time", lambda: 300.0)
    running = start(200, None, 50, 90, 60.0)
    del running["ended"]
    assert starts.goodput([start(0, 100, 0, 50, 80.0), running]) == (2, 200.0, 140.0)


def test_starts_of_other_jobs_are_left_out():
    assert starts.goodput([{"began": 0, "ended": 50}]) == (0, 0, 0.0)
    assert starts.goodput([]).share == 0.0


def write(folder, run, heartbeat=None):
    (folder / "run.json").write_text(json.dumps({"starts": run}))
    if heartbeat is not None:
        (folder / "heartbeat.json").write_text(json.dumps(heartbeat))


def test_a_killed_start_ended_at_its_last_sign_of_life(tmp_path):
    beat = {"time": 160.0, "doing": "train", "step": 30, "seconds": 50.0}
    write(tmp_path, [{"began": 100.0, "from_step": 10}], beat)
    assert starts.known(tmp_path) == [start(100.0, 160.0, 10, 30, 50.0, how="killed")]


def test_a_start_killed_in_the_evaluation_lasted_until_then(tmp_path):
    trained = {"began": 100.0, "from_step": 10, "step": 60, "seconds": 40.0}
    write(tmp_path, [trained], {"time": 200.0, "doing": "step00000060", "step": 3, "seconds": 30.0})
    assert starts.known(tmp_path) == [trained | {"ended": 200.0, "how": "killed"}]


@pytest.mark.parametrize("beat", [None, {"time": 90.0, "doing": "train", "step": 3, "seconds": 5.0}, {"time": 160.0}])
def test_without_a_sign_of_its_own_it_ended_where_it_began(tmp_path, beat):
    write(tmp_path, [{"began": 100.0, "from_step": 10}], beat)
    assert starts.known(tmp_path) == [{"began": 100.0, "from_step": 10, "ended": 100.0, "how": "killed"}]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "\xff", '{"starts": [3]}', '{"starts": 3}', '{"starts": null}', "[" * 100_000]
)
def test_a_damaged_record_starts_a_new_list(tmp_path, text):
    (tmp_path / "run.json").write_bytes(text.encode("latin-1"))
    assert starts.known(tmp_path) == []


@pytest.mark.parametrize("name", ["began", "ended", "from_step", "step", "seconds"])
@pytest.mark.parametrize("value", ["3", None, [3], True, -1, float("nan"), pytest.param(10**400, id="huge")])
def test_a_start_with_a_damaged_number_is_left_out(tmp_path, name, value):
    good = start(0, 100, 0, 50, 80.0)
    write(tmp_path, [good | {name: value}, good])
    assert starts.known(tmp_path) == [good]
    assert starts.goodput(starts.known(tmp_path)).share == 0.8


def test_a_start_that_does_not_say_when_it_began_is_left_out(tmp_path):
    write(tmp_path, [{"from_step": 0, "step": 50}])
    assert starts.known(tmp_path) == []


@pytest.mark.parametrize("damage", [{"step": None}, {"seconds": "50"}, {"time": "160"}, {"time": [160]}])
def test_a_damaged_heartbeat_is_none(tmp_path, damage):
    beat = {"time": 160.0, "doing": "train", "step": 30, "seconds": 50.0}
    killed = [{"began": 100.0, "from_step": 10, "ended": 100.0, "how": "killed"}]
    write(tmp_path, [{"began": 100.0, "from_step": 10}], beat | damage)
    assert starts.known(tmp_path) == killed
    for name in damage:
        write(tmp_path, [{"began": 100.0, "from_step": 10}], {key: beat[key] for key in beat if key != name})
        assert starts.known(tmp_path) == killed
