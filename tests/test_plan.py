"""What is told of a step that is compiled and never run."""

import json
import shutil
import types

import jax
import pytest

import launch
from configs import creativity
from latentjax import distributed, topologies
from latentjax.errors import InputError
from latentjax.jobs import plan
from latentjax.jobs.plan import GIB, Plan
from latentjax.topologies import CHIPS

FIGURES = Plan(
    samples=2,
    arguments=GIB,
    temporaries=2 * GIB,
    code=0,
    flops=4e9,
    bytes=8e9,
    cycles=3e6,
    collectives={"all-reduce": (2, 3_000_000)},
)


@pytest.fixture
def config():
    """The paper's job at its smallest."""
    c = creativity.get_config("biggan128")
    c.train.batch_size = 2
    return c


@pytest.fixture
def mesh():
    return distributed.data_mesh()


@pytest.fixture
def as_if_v5e(monkeypatch):
    """This machine's devices stand in for a v5e slice."""
    monkeypatch.setattr(plan, "devices_of", lambda topology: (jax.devices(), CHIPS["v5e"]))


def growing(monkeypatch, per_latent, fails_from=10**9):
    """A compiler for which each latent needs so many bytes; returns what it was asked."""
    tried = []

    def compiled(config, mesh, *, quickly=False):
        tried.append(config.train.batch_size)
        if tried[-1] >= fails_from:
            return None
        return FIGURES._replace(arguments=100, temporaries=int(per_latent * tried[-1]))

    monkeypatch.setattr(plan, "compiled", compiled)
    return tried


@pytest.mark.parametrize("fits", [0, 1, 5, 8, 9, 17, 79, 1000])
@pytest.mark.parametrize("fails_from", [10**9, 100])
def test_the_largest_batch(monkeypatch, config, mesh, fits, fails_from):
    growing(monkeypatch, 10, fails_from)
    found, most = plan.largest(config, mesh, 100 + 10 * fits + 5), min(fits, fails_from - 1)
    assert found <= most
    assert found >= most - max(1, most // 8)


def test_the_largest_batch_takes_few_compilations(monkeypatch, config, mesh):
    tried = growing(monkeypatch, 10)
    plan.largest(config, mesh, 100 + 790)
    assert len(tried) <= 4


def test_the_largest_batch_is_divisible_by_the_micro_batches(monkeypatch, config, mesh):
    growing(monkeypatch, 10)
    config.train.micro_batches = 4
    assert plan.largest(config, mesh, 100 + 10 * 30) in (24, 28)


def test_figures_are_told_with_their_bounds():
    lines = plan.told(FIGURES, CHIPS["v5e"], 16 * GIB)
    assert "3.00 GiB" in lines[0]
    assert lines[0].endswith("of 16 GiB it fits")
    assert "2.0 GFLOP and 4.00 GB a sample, 2 samples a device" in lines[1]
    assert "2 all-reduce of 3.00 MB" in lines[2]
    assert "1.50 million a sample" in lines[3]
    # 3e6 cycles at 1.5 GHz, 4e9 operations at 197 TFLOP/s, 8e9 bytes at 819 GB/s
    assert "at least 9.8 ms (cycles 2.0 ms, arithmetic 0.0 ms, memory traffic 9.8 ms)" in lines[4]
    assert plan.told(FIGURES, None, 2 * GIB)[0].endswith("it DOES NOT FIT")


@pytest.mark.parametrize(
    ("chip", "hosts", "told"),
    [
        (CHIPS["v5e"], 1, "in all"),
        (CHIPS["v5e"], 4, "in all, across 4 hosts by the slice's own links (ICI)"),
        (None, 2, "in all, across 2 hosts"),
    ],
)
def test_what_a_collective_crosses_is_told(chip, hosts, told):
    assert plan.told(FIGURES._replace(joined=hosts), chip, None)[2].endswith(f"2 all-reduce of 3.00 MB {told}")


def test_a_slice_of_four_hosts_is_compiled(capsys, tiny_generator):
    """By the TPU's own compiler, where it is installed."""
    pytest.importorskip("libtpu")
    flags = ["--config.plan.topology=v5e:4x4", "--config.plan.largest_batch=False", "--config.train.batch_size=32"]
    launch.run(["--job=plan", "--config=configs/demo.py", f"--config.generator.weights={tiny_generator}", *flags])
    told = capsys.readouterr().out
    assert "Compiled for v5e:4x4 (16 x TPU v5 lite, 4 hosts), never run" in told
    assert "batch 32, 2 a device, 4 devices a host" in told
    assert "across 4 hosts by the slice's own links (ICI)" in told


def test_the_run_in_time_and_money(config):
    config.train.num_steps, config.plan.price_per_chip_hour = 1000, 1.2
    # 9.77 ms a step, 8 chips
    told = plan.run_told(config, FIGURES._replace(bytes=819e9), CHIPS["v5e"], 8)
    assert told == "1000 steps: at least 0.3 h, 2.2 chip-hours, 2.67 at 1.2 a chip-hour"


def test_a_damaged_model_folder_is_refused(tiny_generator, tmp_path):
    folder = shutil.copytree(tiny_generator, tmp_path / "model")
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(record | {"config": {"resolution": 100}}))
    with pytest.raises(InputError, match=r"model\.json: is damaged \(config: "):
        plan.abstract(str(folder), "biggan512", "generator")
    assert plan.abstract(str(tiny_generator), "biggan512", "generator").resolution == 8


@pytest.mark.slow
def test_a_plan_needs_no_weights_and_no_workdir(config, mesh):
    found = plan.compiled(config, mesh)
    assert found.samples == 2
    # BigGAN-128 and EfficientNet-B0 in float32, from their numbers of parameters
    assert found.arguments == pytest.approx(4 * (70.4e6 + 4.0e6 + 1.5e6), rel=0.1)
    assert found.flops / found.samples == pytest.approx(90e9, rel=0.05)


@pytest.mark.slow
def test_loops_over_micro_batches_are_counted_in_full(config, mesh):
    config.train.batch_size = 4
    whole = plan.compiled(config, mesh)
    config.train.micro_batches = 4
    parts = plan.compiled(config, mesh)
    assert parts.flops == pytest.approx(whole.flops, rel=0.05)
    assert parts.temporaries < 0.7 * whole.temporaries  # kernels in other forms are held in either case


def test_the_job(capsys):
    launch.run(["--job=plan", "--config=configs/demo.py", "--config.platform=cpu", "--config.plan.largest_batch=False"])
    told = capsys.readouterr().out
    assert "Compiled for cpu" in told
    assert "never run" in told
    assert "GiB it fits" in told


def test_a_chip_with_few_samples_is_warned_of(capsys, monkeypatch, as_if_v5e):
    monkeypatch.setattr(plan, "compiled", lambda *_, **__: FIGURES)
    monkeypatch.setattr(plan, "largest", lambda *_: 64)
    flags = ["--config.plan.topology=v5e:2x4", "--config.train.batch_size=2"]
    launch.run(["--job=plan", "--config=configs/creativity.py", *flags])
    told = capsys.readouterr().out
    assert "largest batch       64 latents" in told
    assert "warning: 2 samples a chip at once waste most of it" in told
    assert "--config.train.batch_size=8" in told


@pytest.mark.parametrize(
    ("batch", "alphas", "parts", "at_once", "better"),
    [
        (8, 1, 1, 1, 64),
        (8, 5, 1, 5, 16),
        (8, 3, 1, 3, 24),
        (64, 1, 4, 2, 256),
        (64, 1, 1, 8, None),
        (16, 4, 1, 8, None),
    ],
)
def test_the_better_batch(config, batch, alphas, parts, at_once, better):
    config.train.batch_size, config.train.alphas_per_latent, config.train.micro_batches = batch, alphas, parts
    told = plan.few_told(config.train, 8)
    assert (told == "") == (better is None)
    if better:
        assert f"{at_once} samples a chip at once" in told
        assert f"--config.train.batch_size={better}," in told


def test_what_the_compiler_finds_too_large_is_told(capsys, monkeypatch, as_if_v5e):
    def no_memory(*_, **__):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm")

    monkeypatch.setattr(jax.stages.Lowered, "compile", no_memory)
    launch.run(["--job=plan", "--config=configs/demo.py", "--config.plan.topology=v5e:2x4"])
    told = capsys.readouterr().out
    assert "DOES NOT FIT" in told
    assert "largest batch       0 latents" in told


def test_a_platform_is_not_looked_for_when_a_slice_is_named(capsys, monkeypatch, as_if_v5e):
    monkeypatch.setattr(plan, "compiled", lambda *_, **__: FIGURES)
    flags = ["--config.plan.topology=v5e:2x4", "--config.platform=tpu", "--config.plan.largest_batch=False"]
    launch.run(["--job=plan", "--config=configs/creativity.py", *flags])
    assert "Compiled for v5e:2x4" in capsys.readouterr().out


@pytest.mark.parametrize("topology", ["v9:2x4", "v5e", "v5e:2by4", "v5e:2x4; rm"])
def test_a_slice_that_is_none_is_refused(topology):
    with pytest.raises(InputError, match=r"config\.plan\.topology: .* is unknown; write one such as v5e:2x4"):
        topologies.devices_of(topology)


@pytest.mark.parametrize(("topology", "told"), [("v4:2x2x2", {"chip_config_name": "megacore"}), ("v5e:2x4", {})])
def test_a_chip_is_one_device(monkeypatch, topology, told):
    from jax.experimental import topologies as theirs

    asked = {}

    def described(name, platform, **settings):
        asked.update(settings)
        return types.SimpleNamespace(devices=jax.devices())

    monkeypatch.setattr(theirs, "get_topology_desc", described)
    topologies.devices_of(topology)
    assert asked == told


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Unable to initialize backend: libtpu.so not found", "needs the TPU's compiler; pip install"),
        ("INVALID_ARGUMENT: no such shape\nmore", "'v5e:7x9' is no slice (INVALID_ARGUMENT: no such shape)"),
    ],
)
def test_what_the_compiler_refuses_is_told(monkeypatch, said, told):
    def refuse(*_, **__):
        raise RuntimeError(said)

    from jax.experimental import topologies as theirs

    monkeypatch.setattr(theirs, "get_topology_desc", refuse)
    with pytest.raises(InputError) as caught:
        topologies.devices_of("v5e:7x9")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("role", "name", "told"),
    [
        ("generator", "stylegan", "'stylegan' is no generator's architecture; use one of biggan128"),
        ("generator", "efficientnet-b0", "'efficientnet-b0' is no generator's architecture; use one of biggan128"),
        ("assessor", "biggan512", "'biggan512' is no assessor's architecture; use one of efficientnet-b0"),
        ("assessor", "", "is not set, and '' is not there; use one of efficientnet-b0"),
    ],
)
def test_an_architecture_that_is_not_known_is_refused(config, mesh, role, name, told):
    config.generator.weights = config.assessor.weights = ""
    config.plan[role] = name
    with pytest.raises(InputError) as caught:
        plan.compiled(config, mesh)
    assert str(caught.value).startswith(f"config.plan.{role}: {told}")


def test_the_assessor_scores_as_in_training(config, mesh):
    config.assessor.output, config.assessor.output_class = "margin", 1
    (term,) = plan.bench_for(config, mesh).assessor.terms
    assert (term.assessor.output.kind, term.assessor.output.output_class) == ("margin", 1)


def test_fields_that_training_refuses_are_refused(config, mesh):
    config.latents.truncation = 2.0
    with pytest.raises(InputError, match=r"config\.latents\.truncation: is 2\.0"):
        plan.bench_for(config, mesh)


@pytest.mark.slow
def test_memory_is_what_a_run_takes():
    """Of a process of its own: the plan's bytes within a tenth of its arguments and the growth of its memory."""
    import subprocess
    import sys

    run = subprocess.run([sys.executable, "-m", "tests.memory_of_a_step"], capture_output=True, text=True, check=True)
    planned, measured = map(int, run.stdout.split()[-2:])
    assert planned == pytest.approx(measured, rel=0.1)
