"""Benchmarks compare the same functions, count rightly, and write what they promise; nothing here is a measurement."""

import copy
import os
import sys

import pytest
import torch

from benchmarks import assessor, assessor_training, command, random_weights, sides, torch_sides, train_step, tuned_torch
from converters.oracles import biggan, efficientnet, fixtures
from converters.oracles.radam import RAdam
from converters.oracles.training import training_step
from latentjax import command_line
from latentjax.errors import InputError
from tests import tiny_runs

CPUS = sorted(os.sched_getaffinity(0))[:1]
CHANNELS = 8
LACKING = ("ml_collections", "tensorboardX", "grain", "array_record", "tensorflow_datasets")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    with random_weights.files(tmp_path_factory.mktemp("models"), CPUS, channels=CHANNELS) as made:
        yield made


@pytest.fixture(scope="module")
def oracles(files):
    return torch_sides.oracles(files)


def measured(*walls: float, **facts) -> sides.Measured:
    facts = {"peak_rss": 2**30, "setup_seconds": 1.0, "first_seconds": 2.0} | facts
    return sides.Measured([sides.Timing(2 * wall, wall) for wall in walls], facts)


def test_a_ratio_is_the_median_of_the_repeats_own_ratios():
    # the machine halves its speed in the second repeat: medians of either side alone would give 3 / 4
    one, other = measured(1.0, 6.0, 3.0), measured(2.0, 4.0, 4.0)
    assert sides.ratio(one, other, "wall") == (0.75, 0.5, 1.5)
    assert sides.ratio(one, other, "cpu") == (0.75, 0.5, 1.5)
    assert str(sides.Spread(0.75, 0.5, 1.5)) == "0.75 [0.5, 1.5]"


def test_found_numbers_follow_from_the_runs():
    ours = measured(2.0, 2.0, 4.0, flops=8e9, bytes_accessed=4e9, compile_seconds=20.0)
    runs = {"published": measured(4.0, 4.0, 4.0), "tuned": measured(4.0, 2.0, 2.0, compiled=False), "ours": ours}
    most = {"flops": 10e9, "bytes": 8e9, "dtype": "float32"}
    found = train_step.found_of(runs, most, 4, 1, size=128, batch=2)
    assert (found["wall_ratio_published"], found["cpu_ratio_tuned"]) == (0.5, 1.0)
    assert found["wall_ratio_published_range"] == [0.5, 1.0]
    assert found["samples_per_second"] == {"published": 1.0, "tuned": 2.0, "ours": 2.0}
    assert (found["gflop_per_sample"], found["compile_seconds"], found["tuned_compiled"]) == (2.0, 20.0, False)
    # 2 samples a second of 2 GFLOP and 1 GB
    assert (found["mfu_executed"], found["bytes_fraction"]) == (0.4, 0.25)
    assert found["mfu_published_work"] == pytest.approx(2 * 12.42)
    assert "cpu_ratio_rewritten" not in found
    told = command.table(found, train_step.COMPARED)
    assert "ours / published" in told
    assert "rewritten" not in told


@pytest.mark.parametrize("rewritten", [False, True])
def test_the_tuned_generator_is_the_published_one(oracles, rewritten):
    z, y = fixtures.sample_inputs(oracles[0], 2)
    with torch.no_grad():
        images, expected = tuned_torch.Generator(oracles[0], rewritten)(z, y), oracles[0](z, y)
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-4)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_the_tuned_generator_has_every_layout_of_the_published_ones():
    for size in (256, 512):
        oracle = biggan.BigGAN(size, channels=CHANNELS)
        torch.nn.init.constant_(oracle.attention.gamma, 0.7)
        inputs = fixtures.sample_inputs(oracle, 1)
        with torch.no_grad():
            torch.testing.assert_close(tuned_torch.Generator(oracle)(*inputs), oracle(*inputs), rtol=0, atol=1e-4)


def test_the_tuned_assessor_is_the_published_one(oracles):
    images = torch.rand(2, 3, 128, 128) * 2 - 1
    with torch.no_grad():
        scores, expected = tuned_torch.Assessor(oracles[1])(images), efficientnet.assess(oracles[1], images)[1]
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("float64")
def test_the_tuned_step_is_the_published_one(oracles):
    """In float64: torch's own noise in float32 gradients to the latents can reach per cents."""
    generator, classifier, transformer = (copy.deepcopy(oracle).double() for oracle in oracles)
    torch.manual_seed(0)  # else every run compares other draws
    draws = torch_sides.drawn(transformer, 2, 1, torch.device("cpu"))
    draws = {name: drawn.double() for name, drawn in draws.items()}
    with torch.no_grad():
        fast = tuned_torch.Generator(generator), tuned_torch.Assessor(classifier)
    other = copy.deepcopy(transformer)
    loss = torch_sides.tuned_step(*fast, other, RAdam(other.parameters()), draws)

    def assess(images: torch.Tensor) -> torch.Tensor:
        return efficientnet.assess(classifier, images)[1]

    start = [each.detach().clone() for each in transformer.parameters()]
    found = training_step(generator, assess, transformer, RAdam(transformer.parameters()), **draws)
    torch.testing.assert_close(loss, found["loss"], rtol=1e-5, atol=0)  # constants in float32
    for before, mine, theirs in zip(start, other.parameters(), transformer.parameters(), strict=True):
        moved, expected = mine.detach() - before, theirs.detach() - before
        assert (moved - expected).norm() <= 1e-5 * expected.norm()


def test_compiling_that_fails_or_is_slower_leaves_the_eager_step():
    def fails() -> None:
        raise RuntimeError("no compiler")

    def quick() -> None:
        pass

    def slow() -> None:
        sum(range(3_000_000))

    cpu = torch.device("cpu")
    step, facts = torch_sides.faster(quick, fails, cpu)
    assert (step, facts) == (quick, {"compiled": False, "torch_compile_error": "RuntimeError: no compiler"})
    assert torch_sides.faster(quick, slow, cpu)[0] is quick
    step, facts = torch_sides.faster(slow, quick, cpu)
    assert step is quick
    assert facts["compiled"]


def test_every_side_runs_once_a_repeat_in_a_process_of_its_own(files):
    shared = {"files": files, "device": "cpu", "threads": 1, "batch": 1, "size": 64}
    forms = ("published", "tuned")
    made = [sides.Side(form, "benchmarks.assessor:torch_side", shared | {"form": form}) for form in forms]
    runs = sides.interleaved(made, CPUS, repeats=3, steps=2)
    found = command.result(runs, {"published": ("tuned", "published")}, 1, batch=1)
    assert {"batch", "machine", "versions", "peak_rss", "cpu_ratio_published", "wall_ratio_published"} <= set(found)
    assert all(len(found["sides"][form]["wall_seconds"]) == 3 for form in forms)
    assert all(0 < side.series("cpu")[0] < 60 for side in runs.values())


def test_a_side_that_dies_is_told():
    with pytest.raises(InputError, match="side dead: was ended, most likely for lack of memory"):
        sides.interleaved([sides.Side("dead", "os:_exit", {"status": 0})], CPUS, repeats=1, steps=1)


@pytest.mark.slow
def test_a_run_of_all_sides_writes_every_key(files, tmp_path, capsys):
    names = ("published", "tuned", "ours")
    made = train_step.sides_of(files, names, folder=str(tmp_path / "cache"), compiling=False, alphas=2)
    most = {"flops": 1e11, "bytes": 1e10, "dtype": "float32"}
    runs = sides.interleaved(made, CPUS, repeats=2, steps=1)
    found = train_step.found_of(runs, most, 4, 1, size=128, batch=2, forms="auto", precision="float32", device="cpu")
    command.told(found, train_step.COMPARED, "title", tmp_path / "found.json")
    assert capsys.readouterr().out.startswith("title\n")
    assert (tmp_path / "found.json").stat().st_size
    for name in ("published", "tuned"):
        for key in (f"{kind}_ratio_{name}" for kind in ("cpu", "wall")):
            assert found[key] > 0
    numbers = ("gflop_per_sample", "compile_seconds", "mfu_executed", "bytes_fraction")
    assert all(found[key] > 0 for key in numbers)
    assert {"size", "batch", "machine", "versions", "tuned_compiled"} <= set(found)
    assert all(len(found["sides"][name]["cpu_seconds"]) == 2 for name in names)
    assert all(peak > 2**27 for peak in found["peak_rss"].values())
    assert "ours: compiled in" in "\n".join(train_step.lines_of(found))


@pytest.mark.slow
def test_our_side_needs_none_of_what_gpu_machines_lack(files, tmp_path):
    code = f"""
import sys
for name in {LACKING}:
    sys.modules[name] = None
from benchmarks import ours
from benchmarks.random_weights import Files
bench = ours.bench_of(Files(*{tuple(files)}), "cpu", "auto", "bfloat16", sys.argv[1], train__batch_size=3)
from latentjax.jobs import evaluation, train, workbench
from latentjax.optimizers import optimizer
transformer = workbench.new_transformer(bench)
train.compiled_step(bench, transformer, optimizer(bench.config.train))
print(len(evaluation.Evaluation(bench, transformer).strips), bench.config.train.batch_size)
"""
    done = tiny_runs.python(code, str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "64 3\n"), done.stderr


def test_bad_flags_are_told(refused):
    def run(*words: str) -> str:
        return refused(lambda: command_line.run(train_step.main), *words)

    assert run("--sides=theirs").startswith("--sides: 'theirs' is unknown; use some of published,tuned,")
    assert run("--repeats=0").startswith("--repeats: is 0; ")
    assert run("--threads=4096").startswith("--threads: is 4096; ")
    assert run("--json=there/is/none.json").startswith("--json: ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_told_by_the_side(refused):
    line = refused(lambda: command_line.run(train_step.main), "--device=gpu")
    assert line == "--device: is gpu, and PyTorch sees none; use cpu, or install PyTorch for CUDA\n"


@pytest.mark.parametrize("form", assessor_training.SIDES[:2])
def test_the_sides_of_an_assessors_training_learn(form):
    assessor_training.torch_side("lite0", 2, 64, 1, form).run(2)


def test_the_pipeline_of_an_assessors_training_gives_its_batches():
    assessor_training.pipeline_side(2, 64).run(1)


@pytest.mark.parametrize("form", assessor.SIDES[:-1])
def test_the_assessor_sides_give_a_gradient(files, form):
    assessor.torch_side(files, "cpu", 1, 1, 64, form).run(1)


def test_benchmarks_import_no_pytorch_at_once():
    done = tiny_runs.python(
        "import sys; from benchmarks import assessor, convert, evaluate, train_step; print('torch' in sys.modules)"
    )
    assert done.stdout == "False\n", done.stderr
    assert "torch" in sys.modules
