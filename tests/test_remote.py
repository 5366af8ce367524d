"""Model folders and checkpoints on gs://, through an emulator of Google Cloud Storage on this machine."""

import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading

import gcsfs.retry
import jax
import numpy as np
import pytest
from gcp_storage_emulator import server
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import objects

import latentjax
from latentjax import checkpoint_folder, remote, terms, weights
from latentjax.checkpoints import Checkpoints
from latentjax.errors import InputError
from latentjax.jobs import plan
from tests import tiny_runs
from tests.test_checkpoints import LOSSES, same, state_at

NOWHERE = "127.0.0.1:1"  # nobody listens there
MODEL = "gs://bucket/models/tiny"


def moved(request, response, storage):
    """What the emulator lacks of the real service."""
    params = request.params
    place = params["bucket_name"], params["object_id"]
    try:
        storage.get_file_obj(*place)
    except NotFound:
        response.status = http.HTTPStatus.NOT_FOUND
        return
    params["dest_bucket_name"] = params["bucket_name"]
    objects.copy(request, response, storage)
    storage.delete_file(*place)


@pytest.fixture(scope="module")
def emulator():
    """Requests that it answered, one line each; it forgets nothing between the tests of this file."""
    seen: list[str] = []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    route = r"/storage/v1/b/(?P<bucket_name>[-.\w]+)/o/(?P<object_id>.+)/moveTo/o/(?P<dest_object_id>.+)"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("STORAGE_EMULATOR_HOST", "TENSORSTORE_GCS_HTTP_URL"):
            patch.setenv(name, f"http://127.0.0.1:{port}")
        # nobody is asked for credentials
        patch.setenv("NO_GCE_CHECK", "true")
        for name in ("GCE_METADATA_HOST", "GCE_METADATA_ROOT"):
            patch.setenv(name, NOWHERE)
        patch.setattr(server, "HANDLERS", ((route, {"POST": moved}), *server.HANDLERS))
        patch.setattr(server.RequestHandler, "log_message", lambda self, format, *args: seen.append(str(args[0])))
        with server.create_server("127.0.0.1", port, in_memory=True, default_bucket="bucket"):
            yield seen


@pytest.fixture
def cache(emulator, monkeypatch, tmp_path):
    """The folder of copies, empty."""
    monkeypatch.setenv("LATENTJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "remote"


def copied(folder, address: str) -> None:
    """Copies a model folder into the bucket."""
    for path in folder.iterdir():
        remote.filesystem().pipe_file(f"{address}/{path.name}", path.read_bytes())


@pytest.fixture
def model(cache, tiny_generator):
    copied(tiny_generator, MODEL)
    return MODEL


def refusal(call, *arguments) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def contents(cache):
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def test_a_generator_on_gs_is_the_one_that_was_copied_there(model, tiny_generator, cache):
    ours, theirs = latentjax.load_generator(f"{model}/"), latentjax.load_generator(tiny_generator)
    assert (ours.kind, ours.config, ours.sha256) == (theirs.kind, theirs.config, theirs.sha256)
    assert same(ours.state, theirs.state)
    assert contents(cache) == ["model.json", "weights.safetensors"]
    (copy,) = cache.iterdir()
    assert same(latentjax.load_generator(copy).state, theirs.state)


def test_a_second_load_reads_model_json_alone(model, emulator):
    latentjax.load_generator(model)
    before = len(emulator)
    latentjax.load_generator(model)
    (request,) = emulator[before:]
    assert request.startswith("GET /download/storage/v1/b/bucket/o/models%2Ftiny%2Fmodel.json?")


def test_a_model_that_was_replaced_is_fetched_anew(model, cache, tmp_path):
    before = latentjax.load_generator(model)
    tiny_runs.save_generator(tmp_path / "other")
    copied(tmp_path / "other", model)
    after = latentjax.load_generator(model)
    assert after.sha256 != before.sha256
    assert same(after.state, latentjax.load_generator(tmp_path / "other").state)


@pytest.mark.parametrize("change", [lambda data: data[:-5], lambda data: data + b" ", lambda data: b"\1" + data[1:]])
def test_weights_that_are_not_those_of_model_json_are_refused_and_not_kept(model, cache, change):
    address = f"{model}/weights.safetensors"
    remote.filesystem().pipe_file(address, change(remote.filesystem().cat_file(address)))
    expected = f"{address}: does not match the checksum in model.json; copy the model there again"
    assert refusal(latentjax.load_generator, model) == expected
    assert not list(cache.iterdir())


def test_a_copy_that_is_damaged_later_is_noticed(model, cache):
    latentjax.load_generator(model)
    (file,) = cache.glob("*/weights.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    expected = f"{file}: does not match the checksum in model.json; delete {file.parent}: it is fetched again"
    assert refusal(latentjax.load_generator, model) == expected


def test_what_is_not_there_is_told(model, cache):
    assert refusal(latentjax.load_generator, "gs://bucket/none").startswith(
        "gs://bucket/none: is not a generator folder (no model.json); "
    )
    assert refusal(latentjax.load_generator, "gs://no-such/a") == "gs://no-such: is no bucket; check its name"
    for address in ("gs://", "gs:///a"):
        assert "names no bucket; write gs://BUCKET/FOLDER" in refusal(latentjax.load_generator, address)
    remote.filesystem().rm_file(f"{model}/weights.safetensors")
    expected = f"{model}/weights.safetensors: is not there; copy the model there again"
    assert refusal(latentjax.load_generator, model) == expected
    assert not list(cache.glob("*"))


def test_another_role_and_a_damaged_model_json_are_told_before_any_weights_come(model, emulator):
    before = len(emulator)
    assert refusal(latentjax.load_assessor, model).startswith(f"{model}: holds a model for the role generator (dcgan)")
    remote.filesystem().pipe_file(f"{model}/model.json", b"{")
    assert refusal(latentjax.load_generator, model).startswith(f"{model}/model.json: is damaged (")
    assert not any("weights.safetensors" in request for request in emulator[before:])


def test_a_transformer_is_found_in_its_run_folder(cache, transformer):
    folder = pathlib.Path(transformer)
    copied(folder, "gs://bucket/run/transformer")
    theirs = latentjax.load_transformer(folder)
    for name in ("gs://bucket/run", "gs://bucket/run/", "gs://bucket/run/transformer"):
        assert same(latentjax.load_transformer(name).state, theirs.state)


def test_a_plan_reads_model_json_alone(model, cache):
    assert plan.abstract(model, "", "generator").kind == "dcgan"
    assert not cache.exists()


def test_a_term_may_be_on_gs(cache, tmp_path):
    weights.save(tmp_path / "judge", {}, "image_property", {"property": "brightness"}, {})
    copied(tmp_path / "judge", "gs://bucket/judge")
    (term,) = terms.load([{"weights": "gs://bucket/judge", "slope": 2.0}]).terms
    assert (term.name, term.assessor.kind) == ("judge", "image_property")


def test_progress_is_shown_of_what_takes_long(model, capsys, monkeypatch):
    latentjax.load_generator(model)
    assert "weights.safetensors" not in capsys.readouterr().err
    monkeypatch.setattr(remote, "SHOWN", 0)
    monkeypatch.setenv("LATENTJAX_CACHE", os.environ["LATENTJAX_CACHE"] + "2")
    latentjax.load_generator(model)
    assert f"{model}/weights.safetensors: 100%" in capsys.readouterr().err


def python(code: str, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *arguments]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=tiny_runs.ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def test_two_processes_may_load_it_at_once(model, cache, tiny_generator):
    code = "import sys, latentjax; print(latentjax.load_generator(sys.argv[1]).sha256)"
    both = [python(code, model) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [out.strip() for out, _ in outputs] == [latentjax.load_generator(tiny_generator).sha256] * 2, outputs
    assert contents(cache) == ["model.json", "weights.safetensors"]


def test_where_another_process_was_faster_its_copy_is_taken(model, cache, monkeypatch):
    download = remote._download

    def overtaken(*arguments):
        monkeypatch.setattr(remote, "_download", download)
        latentjax.load_generator(model)
        download(*arguments)

    monkeypatch.setattr(remote, "_download", overtaken)
    latentjax.load_generator(model)
    assert contents(cache) == ["model.json", "weights.safetensors"]


WITHOUT = "import sys; sys.modules['gcsfs'] = None; "


def test_without_gcsfs_the_line_says_what_to_install_and_local_folders_work(model, tiny_generator):
    code = WITHOUT + "import latentjax; latentjax.load_generator(sys.argv[1]); latentjax.load_generator(sys.argv[2])"
    _, err = python(code, str(tiny_generator), model).communicate(timeout=120)
    line = err.strip().splitlines()[-1]
    assert line.startswith(f"latentjax.errors.InputError: {model}/model.json: needs gcsfs (")
    assert line.endswith("; pip install gcsfs")


@pytest.fixture
def refusing(monkeypatch):
    """Makes every request be answered with one error code."""
    servers = []

    def start(code: int, message: str) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = json.dumps({"error": {"code": code, "message": message}}).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, format, *args):
                pass

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        for name in ("STORAGE_EMULATOR_HOST", "TENSORSTORE_GCS_HTTP_URL"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{servers[-1].server_port}")

    yield start
    for each in servers:
        each.shutdown()
        each.server_close()


@pytest.mark.parametrize("code", [401, 403])
def test_a_missing_permission_is_told_with_what_the_service_says(cache, refusing, code):
    refusing(code, "Anonymous caller does not have\nstorage.objects.get access")
    for call in (latentjax.load_generator, latentjax.load_transformer, remote.check_writable):
        line = refusal(call, MODEL)
        assert line.startswith(f"{MODEL}")
        assert ": may not be used (" in line
        assert line.endswith(
            f"does not have storage.objects.get access{', 401' if code == 401 else ''}); "
            "log in with an account that may: gcloud auth application-default login"
        )


def test_a_network_that_is_down_is_told(cache, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{NOWHERE}")
    monkeypatch.setattr(gcsfs.retry, "min", lambda *_: 0, raising=False)  # it waits half a minute between its attempts
    line = refusal(latentjax.load_generator, MODEL)
    assert line.startswith(f"{MODEL}/model.json: cannot be reached (Cannot connect to host {NOWHERE} ")
    assert line.endswith("; check the network")


def test_a_network_that_swallows_packets_is_told_in_time(cache, monkeypatch):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(remote, "WAIT", 1)
        assert refusal(latentjax.load_generator, MODEL).startswith(f"{MODEL}/model.json: cannot be reached (")


def test_a_folder_is_tried_before_a_job_counts_on_it(cache):
    remote.check_writable("gs://bucket/trial")
    assert not remote.filesystem().find("gs://bucket/trial")
    assert refusal(remote.check_writable, "gs://no-such/a") == "gs://no-such: is no bucket; check its name"


def restored(folder: str, **choice):
    checkpoints = Checkpoints(folder, 2)
    try:
        return checkpoints.latest(), checkpoints.restore(state_at(0), **choice)
    finally:
        checkpoints.close()


def written(folder: str) -> None:
    checkpoints = Checkpoints(folder, 2)
    for step, loss in LOSSES.items():
        checkpoints.save(step, state_at(step), loss)
    checkpoints.close()


def test_checkpoints_on_gs_keep_the_latest_and_the_best_and_come_back_exactly(emulator):
    folder = "gs://bucket/exact/checkpoints"
    written(folder)
    assert sorted(path.rsplit("/", 1)[1] for path in remote.filesystem().ls(folder)) == ["20", "40", "50"]
    latest, found = restored(folder)
    assert (latest, found[0]) == (50, 50)
    assert same(found[1], state_at(50))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(found[1]))
    _, found = restored(folder, best=True)
    assert found[0] == 20
    assert same(found[1], state_at(20))


def test_a_damaged_newest_step_on_gs_is_passed_over(emulator):
    folder = "gs://bucket/damaged/checkpoints"
    written(folder)
    files = remote.filesystem()
    largest = max(files.find(f"{folder}/50/default"), key=files.size)
    data = np.frombuffer(files.cat_file(largest), np.uint8).copy()
    data[len(data) // 2] ^= 16
    files.pipe_file(largest, data.tobytes())
    _, found = restored(folder)
    assert found[0] == 40
    assert same(found[1], state_at(40))


def test_checkpoints_that_may_not_be_written_are_refused_at_once(emulator, refusing):
    refusing(401, "Anonymous caller")
    line = refusal(checkpoint_folder.check, "gs://bucket/secret/checkpoints", pathlib.Path("run"))
    assert line.startswith("gs://bucket/secret/checkpoints: may not be used (Anonymous caller, 401); ")
