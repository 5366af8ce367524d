"""Checkpoints: what comes back is bit for bit what was saved, or nothing."""

import json
import math
import resource
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentjax.checkpoints import Checkpoints
from latentjax.errors import InputError

LOSSES = {10: 0.5, 20: 0.1, 30: 0.3, 40: 0.4, 50: 0.45}


def state_at(step: int) -> dict:
    """A state with float32, bfloat16, int32 and uint32, and the empty array of a generator without classes."""
    key = jax.random.fold_in(jax.random.key(0), step)
    return {
        "step": jnp.asarray(step, jnp.int32),
        "params": (jax.random.normal(key, (20, 30)), jax.random.normal(key, (7,), jnp.bfloat16)),
        "opt_state": [jnp.zeros((0,)), {"count": jnp.asarray(3, jnp.uint32)}],
    }


def same(one, other) -> bool:
    return jax.tree.structure(one) == jax.tree.structure(other) and all(
        a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


def kept(folder) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def restored(folder, template=None, identity=None):
    checkpoints = Checkpoints(folder, 2, identity)
    try:
        found = checkpoints.restore(state_at(0) if template is None else template)
        return found and found[:2]
    finally:
        checkpoints.close()


def write(folder, losses: dict[int, float], **settings) -> None:
    checkpoints = Checkpoints(folder, **{"keep": 2} | settings)
    checkpoints.restore(state_at(0))
    for step, loss in losses.items():
        checkpoints.save(step, state_at(step), loss)
    checkpoints.close()


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    folder = tmp_path_factory.mktemp("five") / "checkpoints"
    write(folder, LOSSES)
    return folder


@pytest.fixture
def folder(five, tmp_path):
    """A copy of `five` to damage."""
    return shutil.copytree(five, tmp_path / "checkpoints")


def test_the_latest_two_and_the_best_are_kept(five):
    assert kept(five) == [20, 40, 50]


def test_the_state_comes_back_exactly(five):
    step, state = restored(five)
    assert step == 50
    assert same(state, state_at(50))
    leaves = zip(jax.tree.leaves(state), jax.tree.leaves(state_at(0)), strict=True)
    assert all(leaf.sharding == template.sharding for leaf, template in leaves)


def test_nothing_saved_is_nothing_restored(tmp_path):
    assert restored(tmp_path / "checkpoints") is None
    checkpoints = Checkpoints(tmp_path / "checkpoints", 2)
    assert checkpoints.latest() is None
    checkpoints.close()


def test_the_best_survives_restarts(folder):
    write(folder, {60: 0.6})
    write(folder, {70: 0.2})
    write(folder, {80: 0.7})
    assert kept(folder) == [20, 70, 80]
    write(folder, {90: 0.05})
    write(folder, {100: 0.8})
    assert kept(folder) == [90, 100]


def test_a_state_may_be_changed_as_soon_as_it_is_given(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", 2)
    advance = jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0)
    state = {"params": jnp.zeros((300, 300)), "step": jnp.zeros([], jnp.int32)}
    for step in range(1, 41):
        state = advance(state)
        if step % 10 == 0:
            checkpoints.save(step, state, 0.0)
    checkpoints.close()
    template = {"params": jnp.zeros((300, 300)), "step": jnp.zeros([], jnp.int32)}
    step, found = restored(tmp_path / "checkpoints", template)
    assert (step, int(found["step"])) == (40, 40)
    assert (np.asarray(found["params"]) == 40).all()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state | {"step": jnp.zeros([], jnp.float32)}, "step"),
        (lambda state: state | {"params": (jnp.zeros((20, 31)), state["params"][1])}, r"params\.0"),
        (lambda state: state | {"params": (jnp.zeros((1, 30)), state["params"][1])}, r"params\.0"),
        (lambda state: state | {"params": (state["params"][0], jnp.zeros(7))}, r"params\.1"),
        (lambda state: state | {"more": jnp.zeros(3)}, "more"),
        (lambda state: {name: state[name] for name in ("step", "params")}, r"opt_state\.1\.count"),
    ],
    ids=["dtype", "shape", "broadcast", "bfloat16", "more", "less"],
)
def test_another_state_is_refused_and_nothing_is_cast(folder, change, named):
    before = kept(folder)
    with pytest.raises(InputError, match=rf"has no checkpoint that can be read \(step 50: other tensors.*{named}"):
        restored(folder, change(state_at(0)))
    assert kept(folder) == before


def contents(step_folder):
    return {path.relative_to(step_folder): path.read_bytes() for path in step_folder.rglob("*") if path.is_file()}


def files_of(step_folder, *parts):
    return [path for path in step_folder.joinpath(*parts).rglob("*") if path.is_file() and path.stat().st_size]


def halve(paths):
    for path in paths:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(step_folder):
    """In the largest file, that of the arrays: its length and all else are as they were."""
    largest = max(files_of(step_folder, "default"), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 16
    largest.write_bytes(data)


DAMAGES = {
    "everything halved": lambda step: halve(files_of(step)),
    "arrays halved": lambda step: halve(files_of(step, "default", "ocdbt.process_0")),
    "arrays gone": lambda step: shutil.rmtree(step / "default"),
    "a bit flipped": flip_a_bit,
    "loss halved": lambda step: halve(files_of(step, "metrics")),
    "loss gone": lambda step: shutil.rmtree(step / "metrics"),
    "empty": lambda step: [shutil.rmtree(step), step.mkdir()],
}


# Orbax leaves the other arrays' reads unfinished when one fails
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_newest_step_is_set_aside_and_the_one_before_is_used(folder, damage, caplog):
    damage(folder / "50")
    left = contents(folder / "50")
    step, state = restored(folder)
    assert step == 40
    assert same(state, state_at(40))
    ours = [record.levelname for record in caplog.records if "orbax" not in record.pathname]
    assert ours == ["WARNING"]
    assert f"checkpoint 50 in {folder} cannot be read" in caplog.text
    assert kept(folder) == [20, 40]
    assert contents(folder / "damaged" / "50-0") == left
    # a step between the two, and one in the damaged one's place
    write(folder, {45: 0.44, 50: 0.2})
    assert kept(folder) == [20, 45, 50]
    step, state = restored(folder)
    assert step == 50
    assert same(state, state_at(50))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_damaged_twice_both_are_kept(folder):
    for name in ("50-0", "50-1"):
        flip_a_bit(folder / "50")
        left = contents(folder / "50")
        assert restored(folder)[0] == 40
        assert contents(folder / "damaged" / name) == left
        write(folder, {50: 0.2})
    assert restored(folder)[0] == 50


def test_a_step_of_another_run_is_refused_and_stays(tmp_path):
    mine, other = {"config": "a", "generator_sha256": "b"}, {"config": "a", "generator_sha256": "c"}
    write(tmp_path / "checkpoints", {10: 0.5}, identity=mine)
    with pytest.raises(InputError, match=r"step 10 was made with another generator_sha256; set --config\.c"):
        restored(tmp_path / "checkpoints", identity=other)
    assert kept(tmp_path / "checkpoints") == [10]
    assert restored(tmp_path / "checkpoints", identity=mine)[0] == 10


def test_what_the_log_has_not_written_comes_back(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", 2)
    pending = [{"loss": float(np.float32(0.1)), "score": float(np.float32(1 / 3))}]
    checkpoints.save(7, state_at(7), math.inf, log={"pending": pending, "losses": [0.5]})
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path / "checkpoints", 2)
    assert checkpoints.restore(state_at(0)).log == {"pending": pending, "losses": [0.5]}
    checkpoints.close()


def test_a_step_between_two_lines_of_the_log_is_never_the_best(tmp_path):
    write(tmp_path / "checkpoints", {10: 0.5, 13: math.inf, 20: 0.7, 30: 0.8, 40: 0.9})
    assert kept(tmp_path / "checkpoints") == [10, 30, 40]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_save_that_the_disk_refuses_is_told_in_one_line(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path / "checkpoints", 2)
    checkpoints.save(10, state_at(10), 0.5)
    checkpoints.wait()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        with pytest.raises(InputError, match=r"a checkpoint could not be written .*; mend that, and run the same"):
            save_and_wait(checkpoints, 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert restored(tmp_path / "checkpoints")[0] == 10


def test_nothing_is_told_of_what_orbax_leaves_half_done():
    """Which it is left to chance; Python tells of a coroutine when the process ends."""
    left = """
import sys
from latentjax import checkpoint_quirks
async def write(): ...
if "quiet" in sys.argv: checkpoint_quirks.quiet_leftovers()
sys.modules["held"] = [write()]
"""
    told = [subprocess.run([sys.executable, "-c", left, how], capture_output=True, text=True) for how in ("", "quiet")]
    assert "was never awaited" in told[0].stderr
    assert told[1].stderr == ""


def save_and_wait(checkpoints, step):
    checkpoints.save(step, state_at(step), 0.4)
    checkpoints.wait()


def test_a_best_step_with_a_damaged_loss_is_no_longer_the_best(folder):
    halve(files_of(folder / "20", "metrics"))
    assert restored(folder)[0] == 50
    write(folder, {60: 0.6})
    assert kept(folder) == [40, 50, 60]


def test_when_all_are_damaged_it_says_so_and_removes_nothing(folder):
    before = kept(folder)
    for step in before:
        halve(files_of(folder / str(step), "default"))
    with pytest.raises(InputError, match=r"has no checkpoint that can be read \(step 50: .*; name another --workdir"):
        restored(folder)
    assert kept(folder) == before


def test_a_folder_given_relative_is_the_same_folder(five, monkeypatch):
    monkeypatch.chdir(five.parent)
    assert restored(five.name)[0] == 50


def test_losses_are_plain_json(five):
    assert json.loads((five / "20" / "metrics" / "metrics").read_text())["loss"] == 0.1
