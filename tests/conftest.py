"""Fixtures that several test files share."""

import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterator

import pytest

# set before PyTorch is loaded: its idle threads would keep the cores from JAX's
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture(scope="session")
def reference() -> pathlib.Path:
    """The folder of published systems' numbers; tests that need it are skipped where it is not given."""
    folder = os.environ.get("LATENTJAX_REFERENCE")
    if not folder:
        pytest.skip("LATENTJAX_REFERENCE is not set")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def tiny_generator(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A model folder: a DCGAN with random weights, 6 latent dimensions, 3 classes, pictures of 8 x 8 pixels."""
    from flax import nnx

    from latentjax import weights

    config = {"latent_dim": 6, "num_classes": 3, "widths": [8]}
    folder = tmp_path_factory.mktemp("generator") / "tiny"
    arrays = weights.named(nnx.state(weights.build("dcgan", config)))
    weights.save(folder, arrays, "dcgan", config, {"file": "", "sha256": ""})
    return folder


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A model folder of the generator of `tiny_runs`, whose compilations the tests of a file share."""
    from tests import tiny_runs

    with tiny_runs.shared_compilations(tmp_path_factory.getbasetemp() / "cache"):
        yield tiny_runs.save_generator(tmp_path_factory.mktemp("generator"))


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A transformer folder that moves its latents."""
    from tests import tiny_runs

    return tiny_runs.save_transformer(tmp_path_factory.mktemp("transformer"))


@pytest.fixture
def refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Calls a main() with arguments that it must refuse, and gives the line after "error: ".

    Asserts exit code 2, one line on stderr beside the log, and that nothing is written below `tmp_path`.
    """

    def contents() -> dict[pathlib.Path, bytes]:
        return {path: path.read_bytes() if path.is_file() else b"" for path in tmp_path.rglob("*")}

    def call(main: Callable[[], int], *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        before = contents()
        capsys.readouterr()
        code = main()
        assert contents() == before
        out, err = capsys.readouterr()
        assert (code, out) == (2, ""), (code, out, err)
        # the log may have told of the devices before
        log, _, line = err.rpartition("error: ")
        assert "error: " not in log
        assert "Traceback" not in err
        assert re.fullmatch(r"[^\n]+: [^\n]+; [^\n]+\n", line), err
        return line

    return call
