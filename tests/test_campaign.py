"""A short form of the campaign, and that it notices what it is there to notice."""

import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from tests import campaign, campaign_child, campaign_harm
from tests import campaign_checks as checks
from tests.campaign_child import Ended
from tests.campaign_plan import FORMS, WEIGHTS, Action, Plan, plan
from tests.campaign_points import POINTS
from tests.campaign_run import LAUNCHER


def action(kind: str, where: str = "", *, moment: float = 0.5, early: bool = False, seed: int = 0) -> Action:
    return Action(kind, moment, early, seed, where)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A campaign with one uninterrupted run; its plans come from the tests."""
    base = tmp_path_factory.mktemp("campaign")
    with campaign.quick_starts(base):
        yield campaign.Campaign(base, 0)


def done(one, *actions: Action, launcher: tuple[str, ...] = LAUNCHER, form: int = 1) -> campaign.Tally:
    """One run to which all this is done."""
    one.tally, one.launcher, one.planned = campaign.Tally(), launcher, lambda *_: Plan(form, actions)
    shutil.rmtree(one.base / "0", ignore_errors=True)
    one.do(0)
    return one.tally


def well(tally: campaign.Tally) -> dict[str, int]:
    """The counts of a run that went well."""
    assert tally.wrong == []
    return tally.counts


# ---- the short form


def test_a_run_that_is_killed_and_stopped_ends_as_one_that_is_not(one):
    counts = well(done(one, action("kill"), action("point", "before commit"), action("SIGTERM", moment=0.1)))
    assert (counts["kills"], counts["point before commit"], counts["SIGTERM"]) == (1, 1, 1)
    assert counts["resumes"] == counts["resumes from a step"] == 3
    assert not (one.base / "0").exists()


@pytest.mark.slow
def test_a_run_with_damaged_checkpoints_ends_as_one_without(one):
    counts = well(done(one, action("point", "before deletion", seed=3), action("all"), action("newest", seed=2)))
    assert (counts["all damaged"], counts["damaged"]) == (1, 1)


@pytest.mark.slow
def test_a_run_without_room_ends_as_one_that_has_it(one):
    short = action("short files", moment=0.1, seed=3)
    counts = well(done(one, action("full disk", seed=1), short))
    assert (counts["full disks"] + counts["skipped"], counts["short files"]) == (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", POINTS)
def test_every_named_point_is_reached_and_borne(one, name):
    assert well(done(one, action("kill", moment=0.1), action("point", name), form=0))[f"point {name}"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in POINTS if name != "half deleted"])
def test_a_stop_at_every_named_point_is_borne(one, name):
    well(done(one, action("kill", moment=0.1), action("SIGTERM", name, moment=0.1), form=0))


@pytest.mark.slow
def test_stops_at_any_moment(one):
    early = [action(kind, moment=moment, early=True) for kind in ("SIGINT", "SIGTERM") for moment in (0.1, 0.4, 0.7)]
    counts = well(done(one, *early, action("SIGINT", moment=0.1), form=2))
    assert counts["SIGINT"] + counts["SIGTERM"] == 7


@pytest.mark.slow
def test_the_command_tells_the_counts_and_ends_with_0():
    command = [sys.executable, "-m", "tests.campaign", "--minutes=0.2", "--seed=3", "--count=1"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout
    last = ended.stdout.splitlines()[-1]
    assert re.match(
        r"1 runs, \d+ kills, \d+ \(\d+ %\) in a save; \d+ resumes, \d+ \(\d+ %\) from a step after 0; ", last
    )
    assert last.endswith("; 0 wrong")
    assert re.search(r"\d\d:\d\d<\d\d:\d\d", ended.stderr)


# ---- plans


def test_a_seed_and_a_number_give_the_same_plan_again():
    plans = [plan(5, number) for number in range(200)]
    assert plans == [plan(5, number) for number in range(200)]
    assert plans != [plan(6, number) for number in range(200)]
    actions = [action for each in plans for action in each.actions]
    assert {action.kind for action in actions} == WEIGHTS.keys()
    assert {action.where for action in actions} == {"", *POINTS}
    assert {each.form for each in plans} == set(range(len(FORMS)))


# ---- what goes wrong is noticed

FAULTY = """
import contextlib, pathlib, shutil, signal, sys
import jax
import launch
from latentjax import preemption
from latentjax.checkpoints import Checkpoints
workdir = next(word for word in sys.argv if word.startswith("--workdir=")).removeprefix("--workdir=")
checkpoints = pathlib.Path(workdir) / "checkpoints"
restore = Checkpoints.restore
def another(*words, **named):
    found = restore(*words, **named)
    if not found:
        return found
    step, state, *rest = found
    changed = type(state)(state.step, jax.tree.map(lambda x: x * 1.001, state.params), state.opt_state)
    return type(found)(step, changed, *rest) if rest else (step, changed)
"""
FAULTS = {
    "another array": ("Checkpoints.restore = another\nsys.exit(launch.main())", "other arrays than without a stop"),
    "a traceback": (
        "launch.main()\nprint('Traceback (most recent call last):', file=sys.stderr)",
        "Traceback on stderr",
    ),
    "a lost step": (
        "steps = sorted((p for p in checkpoints.glob('*') if p.name.isdigit()), key=lambda p: int(p.name))\n"
        "shutil.rmtree(steps[-1]) if steps else None\nsys.exit(launch.main())",
        r"goes on from step \d+, and step \d+ was saved",
    ),
    "an exit code": ("launch.main()\nsys.exit(3)", "exit code 3, not 0"),
    "something left": (
        "code = launch.main()\n(pathlib.Path(workdir) / '.staged').mkdir(exist_ok=True)\nsys.exit(code)",
        "left behind in a finished run: .staged",
    ),
    "a deaf run": (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "preemption.listening = lambda **_: contextlib.nullcontext()\nsys.exit(launch.main())",
        "SIGTERM was ignored at step",
    ),
}


@pytest.mark.parametrize(
    "fault",
    [name if name == "another array" else pytest.param(name, marks=pytest.mark.slow) for name in FAULTS],
)
def test_a_fault_of_the_child_is_a_wrong_run_that_is_kept(one, fault):
    code, said = FAULTS[fault]
    interrupted = action("SIGTERM", moment=0.1) if fault == "a deaf run" else action("kill", moment=0.7)
    tally = done(one, interrupted, launcher=(sys.executable, "-c", FAULTY + code))
    assert [bool(re.search(said, wrong.what)) for wrong in tally.wrong] == [True], tally.wrong
    assert str(tally).endswith("; 1 wrong")
    folder = tally.wrong[0].folder
    assert (folder / "run" / "workdir" / "config.json").exists()
    assert (folder / "1.log").exists()


def ended(code: int, told: str, *, strays: bool = False) -> Ended:
    return Ended(code, told, False, strays)


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (ended(1, "x"), "exit code 1, not 0 or 2"),
        (ended(2, "no line\n"), "without one clear line"),
        (ended(2, "error: a: b; c\nerror: a: b; c\n"), "without one clear line"),
        (ended(2, "error: a: b; c\nmore\n"), "without one clear line"),
        (ended(2, "Traceback (most recent call last)\nerror: a: b; c\n"), "Traceback on stderr"),
        (ended(0, "error: a: b; c\n"), "exit code 0 with error: a"),
        (ended(0, "", strays=True), "outlived"),
    ],
)
def test_an_end_that_is_not_clear_is_wrong(end, said):
    with pytest.raises(checks.WrongError, match=said):
        checks.check_end(end, (0, 2))


def test_an_end_that_is_clear_is_not():
    checks.check_end(ended(2, "1 device(s)\ntrain: 1%\rtrain: 2%\nerror: a: b; c\n"), (0, 2))
    checks.check_end(ended(0, "done\n"), (0, 2))


def test_other_results_are_wrong():
    whole = checks.Whole({"a": np.zeros(2)}, 5, b"w", [(1, 0.5)])
    checks.check_same(whole, whole)
    others = {"arrays": {"a": -np.zeros(2)}, "weights": b"v", "losses": [(1, 0.5), (1, 0.5)]}
    for name, value in others.items():
        with pytest.raises(checks.WrongError):
            checks.check_same(whole._replace(**{name: value}), whole)


def test_a_stop_that_loses_steps_is_wrong(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 7}\n{"step": 8}\n')
    checks.check_stopped(tmp_path / "metrics.jsonl", 8)
    with pytest.raises(checks.WrongError, match="stopped at step 8, and step 7"):
        checks.check_stopped(tmp_path / "metrics.jsonl", 7)


# ---- damage, and what is under way


def step_in(folder: pathlib.Path) -> pathlib.Path:
    """Files as a checkpoint has them."""
    for name in ("_CHECKPOINT_METADATA", "default/_METADATA", "default/d/arrays", "metrics/metrics"):
        path = folder / "5" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 9)
    return folder / "5"


def test_damage_comes_to_every_kind_of_file_in_both_ways(tmp_path):
    found = set()
    for seed in range(40):
        step = step_in(tmp_path / str(seed))
        before = {path: path.read_bytes() for path in campaign_harm.files_of(step)}
        campaign_harm.damage(step, random.Random(seed))
        changed = [path for path, data in before.items() if path.read_bytes() != data]
        assert len(changed) == 1
        found.add((changed[0].name, changed[0].stat().st_size == len(before[changed[0]])))
    assert len(found) == 8


def test_a_damaged_checkpoint_may_be_moved_but_not_deleted(tmp_path):
    damaged = checks.contents(step_in(tmp_path))
    (tmp_path / "5").rename(tmp_path / "aside")
    checks.check_set_aside(tmp_path, damaged)
    (tmp_path / "aside" / "metrics" / "metrics").unlink()
    with pytest.raises(checks.WrongError, match="1 of its 4 files have gone"):
        checks.check_set_aside(tmp_path, damaged)


def test_a_save_is_under_way_when_something_new_is_not_whole(tmp_path):
    left = tmp_path / "4.orbax-checkpoint-tmp"
    left.mkdir()
    (left / "a").touch()
    (left / "b").touch()
    before, since = campaign_child.marks(tmp_path), time.time()

    def under_way() -> bool:
        return campaign_child.in_save(tmp_path, before, since)

    os.utime(left / "b", (since - 9, since - 9))
    (left / "a").unlink()  # being cleared away
    assert not under_way()
    step = step_in(tmp_path)
    assert not under_way()
    shutil.rmtree(step / "metrics")
    assert under_way()
    shutil.rmtree(step)
    (left / "c").touch()  # made again
    os.utime(left / "c", (since + 9, since + 9))
    assert under_way()
    shutil.rmtree(left)
    assert not under_way()
    (tmp_path / "6.orbax-checkpoint-tmp").mkdir()
    assert under_way()
