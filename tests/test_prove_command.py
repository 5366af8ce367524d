"""python -m converters --prove: a certificate is written where it can be, and what cannot be proven is told at once."""

import errno
import json
import os
import re
import sys

import numpy as np
import pytest
import safetensors.torch
import torch

import converters
import latentjax
from converters import __main__ as command
from converters import torch_file
from converters.oracles import fixtures, proof, reading
from converters.oracles.dcgan import DCGAN
from latentjax import generators
from latentjax.errors import InputError
from latentjax.files import sha256_of
from tests.conversion import shorten_assessors
from tests.test_proof import QUANTITIES
from tests.torch_files import FORMATS, save

FLAGS = ("--num-classes=3",)


@pytest.fixture(scope="module")
def eyes():
    """A small DCGAN with random weights."""
    module = DCGAN(6, 3, (8, 4))
    fixtures.randomise(module, 0)
    return module


@pytest.fixture
def place(tmp_path, monkeypatch, eyes):
    """A folder to work in, with eyes.pth, and model, which is converted from it."""
    monkeypatch.chdir(tmp_path)
    save("eyes.pth", eyes.state_dict())
    converters.convert("eyes.pth", "model", num_classes=3)
    return tmp_path


@pytest.fixture
def short_assessors(monkeypatch):
    shorten_assessors(monkeypatch)


@pytest.fixture
def quick(short_assessors, monkeypatch):
    """Both sides find this, without computing anything."""
    found = {name: np.ones((2, 2)) for name in QUANTITIES}
    monkeypatch.setattr(proof, "theirs_of", lambda *_: found)
    monkeypatch.setattr(proof, "ours_of", lambda *_: found)
    return found


@pytest.fixture
def never(monkeypatch):
    """Whatever is wrong is told before anything is computed."""

    def computed(*_):
        raise AssertionError("it is computed")

    monkeypatch.setattr(proof, "cast_for", computed)


def contents(path):
    return json.loads(path.read_text())


# ---- the command


def test_a_right_network_is_proven_and_the_certificate_is_kept(place, short_assessors, capsys):
    before = contents(place / "model" / "model.json")
    command.run(["--prove", "eyes.pth", "model", *FLAGS])
    certificate = contents(place / "certificate.json")
    assert contents(place / "model" / "model.json") == before | {"proof": certificate}
    assert certificate["passed"], certificate["figures"]
    assert certificate["versions"]["latentjax"].startswith(latentjax.__version__)
    assert (certificate["file"], certificate["sha256"]) == ("eyes.pth", sha256_of("eyes.pth"))
    assert (certificate["kind"], certificate["read"]) == ("dcgan", "as PyTorch reads it")
    head, *rows, read, last = capsys.readouterr().out.splitlines()
    assert head.split() == ["largest", "error", "float32", "PyTorch", "allowed", "float64", "allowed"]
    assert [row[:24].strip() for row in rows] == QUANTITIES
    assert all(re.fullmatch(r"( +\d\.\de-\d\d){5} *", row[24:]) for row in rows)
    assert read == "read as PyTorch reads it"
    assert last == f"eyes.pth ({sha256_of('eyes.pth')[:12]}): proven; see certificate.json and model/model.json"
    latentjax.load_generator("model")


@pytest.mark.slow
def test_a_wrong_network_ends_with_1_and_is_not_proven(place, short_assessors, monkeypatch, capsys):
    right = generators.dcgan.FixedNorm
    monkeypatch.setattr(generators.dcgan, "FixedNorm", lambda width, _, **rest: right(width, 1e-4, **rest))
    monkeypatch.setattr(sys, "argv", ["converters", "--prove", "eyes.pth", *FLAGS])
    with pytest.raises(SystemExit) as caught:
        command.main()
    assert caught.value.code == 1
    *_, last = capsys.readouterr().out.splitlines()
    assert last.endswith("): NOT proven; see certificate.json")
    assert not contents(place / "certificate.json")["passed"]
    assert "proof" not in contents(place / "model" / "model.json")


def test_a_second_certificate_does_not_overwrite_the_first(place, quick):
    for name in ("certificate.json", "certificate-2.json", "certificate-3.json"):
        command.run(["--prove", "eyes.pth", *FLAGS])
        assert contents(place / name)["passed"]
        (place / name).write_text("kept")
    assert {(place / f"certificate{n}.json").read_text() for n in ("", "-2", "-3")} == {"kept"}


def test_what_is_no_number_is_shown_and_written_as_null(place, quick, capsys):
    quick["scores"] = np.array([np.nan, 1])
    with pytest.raises(SystemExit):
        command.run(["--prove", "eyes.pth", *FLAGS])
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("scores"))
    assert row.split() == ["scores", "none", "none", "5.0e-05", "none", "1.0e-09", "FAILED"]
    text = (place / "certificate.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["figures"][QUANTITIES.index("scores")]["float32"] is None


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit):
        command.run(["--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "python -m converters --prove biggan-512.pth weights/biggan512" in out
    assert "python -m converters --inspect biggan-512.pth" in out


# ---- what is refused


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["eyes.pth"], "eyes.pth: takes 9 inputs, and how many of them are classes is not in the file; add "),
        (["eyes.pth", *FLAGS, "--dtype=float16"], "--dtype: rounds the weights, and --prove proves those of the file;"),
        (["eyes.pth", *FLAGS, "--dtype=float32"], "--dtype: rounds the weights, and --prove proves those of the file;"),
        (["eyes.pth", "other", *FLAGS], "other: was not converted from eyes.pth; give the folder that was"),
        (["eyes.pth", "model", "--num-classes=4"], "model: was converted with other settings; add the flags that it"),
        (["eyes.pth", "half", *FLAGS], "half: was converted with --dtype=float16, and its rounded weights are not"),
        (["eyes.pth", "nowhere", *FLAGS], "nowhere: does not exist; give the generator's model folder"),
        (["nowhere.pth"], "nowhere.pth: does not exist; check the path"),
        (["eyes.pth", "model", "more", *FLAGS], "more: is not understood; see "),
        (["eyes.pth", "--inspect", *FLAGS], "--inspect, --export, --prove: do not go together; give one of them"),
    ],
)
def test_what_cannot_be_proven_is_told_before_anything_is_computed(place, never, refused, arguments, line):
    other = DCGAN(6, 3, (8, 4))
    save("other.pth", other.state_dict())
    converters.convert("other.pth", "other", num_classes=3)
    converters.convert("eyes.pth", "half", num_classes=3, dtype="float16")
    assert refused(command.main, "--prove", *arguments).startswith(line)


def test_a_folder_of_half_precision_is_proven_when_it_is_converted_as_the_line_says(place, quick, refused):
    converters.convert("eyes.pth", "half", num_classes=3, dtype="float16")
    assert "; convert the file again, without --dtype" in refused(command.main, "--prove", "eyes.pth", "half", *FLAGS)
    converters.convert("eyes.pth", "again", num_classes=3)
    command.run(["--prove", "eyes.pth", "again", *FLAGS])
    assert contents(place / "again" / "model.json")["proof"]["passed"]


def test_a_folder_with_other_weights_is_refused(place, never, refused):
    record = contents(place / "model" / "model.json")
    (place / "model" / "model.json").write_text(json.dumps(record | {"weights_sha256": "0" * 64}))
    line = refused(command.main, "--prove", "eyes.pth", "model", *FLAGS)
    assert line == "model: holds other weights than the file is converted to here; convert the file again\n"


def test_without_pytorch_it_is_one_line(place, never, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    line = refused(command.main, "--prove", "eyes.pth", *FLAGS)
    assert line == "torch: is not installed, and is what a file is proven against; pip install torch\n"


@pytest.mark.parametrize(
    ("folder", "line"), [(".", "certificate.json: cannot be written; "), ("model", "model/model.json: cannot be wr")]
)
def test_a_place_that_cannot_be_written_is_told_before_anything_is_computed(
    place, never, refused, monkeypatch, folder, line
):
    granted = os.access  # root may write anywhere, so that permissions would not do
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != folder and granted(path, mode))
    assert refused(command.main, "--prove", "eyes.pth", "model", *FLAGS).startswith(line)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_one_that_cannot_be_written(place, never, refused):
    (place / "model").chmod(0o500)
    assert refused(command.main, "--prove", "eyes.pth", "model", *FLAGS).startswith("model/model.json: cannot be wr")


def test_a_full_disk_is_one_line(place, quick, refused, monkeypatch):
    def full(path, value):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(converters, "write_json", full)
    line = refused(command.main, "--prove", "eyes.pth", "model", *FLAGS)
    assert line.startswith("certificate.json: cannot be written (No space left on device); free space, ")


def test_the_certificate_is_written_before_the_record(place, quick, refused, monkeypatch):
    write = converters.write_json

    def written(path, value):
        if str(path).endswith("model.json"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, value)

    monkeypatch.setattr(converters, "write_json", written)
    with pytest.raises(InputError, match=r"model/model\.json: cannot be written"):
        converters.prove("eyes.pth", "model", place="certificate.json", num_classes=3)
    assert contents(place / "certificate.json")["passed"]


@pytest.mark.parametrize("option", ["dtype", "num_clases"])
def test_an_option_that_there_is_not_is_a_programming_error(place, never, option):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{option}'"):
        converters.prove("eyes.pth", **{option: 3})


# ---- what our reader reads


def wrapped(state):
    return {"epoch": 3, "state_dict": {f"module.{key}": tensor for key, tensor in state.items()}}


@FORMATS
@pytest.mark.parametrize("wrap", [dict, wrapped])
def test_a_state_dict_is_read_as_pytorch_reads_it(tmp_path, eyes, new, wrap):
    odd = {"half": torch.randn(3).bfloat16(), "transposed": torch.randn(2, 3).T, "mask": torch.ones(2) > 0}
    state = {**eyes.state_dict(), **odd}
    file = torch_file.read(save(tmp_path / "a.pth", wrap(state), new))
    assert reading.beside_pytorch(file) == ("as PyTorch reads it", True)


def test_safetensors_are_read_as_their_own_library_reads_them(tmp_path, eyes):
    safetensors.torch.save_file(eyes.state_dict(), tmp_path / "a.safetensors")
    assert reading.beside_pytorch(torch_file.read(tmp_path / "a.safetensors")) == ("as PyTorch reads it", True)


@FORMATS
def test_what_pytorch_refuses_is_read_by_our_reader_only(tmp_path, eyes, new):
    module = torch_file.read(save(tmp_path / "a.pth", eyes, new))
    assert reading.beside_pytorch(module) == ("by our reader only (a whole pickled module)", True)
    beside = torch_file.read(save(tmp_path / "b.pth", {"state_dict": eyes.state_dict(), "rate": np.float64(1)}, new))
    assert reading.beside_pytorch(beside) == ("by our reader only (more than tensors, which PyTorch refuses)", True)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.update({"main.1.bias": np.nextafter(state["main.1.bias"], np.float32(9))}),
        lambda state: state.update({"main.1.bias": state["main.1.bias"].astype(np.float64)}),
        lambda state: state.update({"main.1.bias": state["main.1.bias"][None]}),
        lambda state: state.pop("main.1.bias"),
        lambda state: state.update({"main.1.bias.": state.pop("main.1.bias")}),
    ],
)
def test_a_reader_that_reads_otherwise_fails_the_proof(place, quick, eyes, monkeypatch, change):
    file = torch_file.read("eyes.pth")
    change(file.root)
    note, same = reading.beside_pytorch(file)
    assert not same
    assert re.fullmatch(r"unlike PyTorch \(main\.1\.bias(, main\.1\.bias\.)?\)", note)
    monkeypatch.setattr(reading, "beside_pytorch", lambda file: reading.Reading(note, same))
    certificate = converters.prove("eyes.pth", num_classes=3)
    assert (certificate["read"], certificate["passed"]) == (note, False)
    assert all(figure["passed"] for figure in certificate["figures"])


def test_a_state_in_bfloat16_is_proven(place, quick, eyes):
    save("half.pth", {key: t.bfloat16() if t.is_floating_point() else t for key, t in eyes.state_dict().items()})
    assert converters.prove("half.pth", num_classes=3)["passed"]
