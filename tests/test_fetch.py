"""python -m converters --fetch brings a published file whole and unchanged, or says in one line why not."""

import errno
import hashlib
import http.server
import io
import json
import os
import random
import re
import socket
import sys
import threading
import time
import urllib.request
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from converters import __main__ as command
from converters import biggan_deep, fetch
from latentjax.errors import InputError

BODY = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
OTHER = random.Random(1).randbytes(300_000)


class Server(http.server.ThreadingHTTPServer):
    """One body and how it is answered with."""

    site: SimpleNamespace


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as `site` says, with Range and If-Range as RFC 9110 has them."""

    def do_GET(self):
        site, wanted = cast(Server, self.server).site, self.headers["Range"]
        site.requests.append((self.path, wanted, self.headers["If-Range"]))
        if site.status != 200:
            return self.send_error(site.status)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        resumed = wanted and site.ranges and self.headers["If-Range"] in (site.etag, site.modified)
        if resumed and start >= len(site.body):
            return self.send_error(416)
        body = site.body[start:] if resumed else site.body
        self.send_response(206 if resumed else 200)
        headers = {"Content-Type": site.type, "ETag": site.etag, "Last-Modified": site.modified}
        headers["Content-Length"] = str(len(body)) if site.length else None
        if resumed:
            headers["Content-Range"] = site.answer or f"bytes {start}-{len(site.body) - 1}/{len(site.body)}"
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: site.cuts.pop(0)] if site.cuts else body)
        time.sleep(site.stalls.pop() if site.stalls else 0)
        return None

    def log_message(self, format, *arguments):
        pass


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A server of one body, known as "creative", and the cache's folder for it."""
    server = Server(("127.0.0.1", 0), Handler)
    folder = tmp_path / "cache" / "downloads" / "creative"
    url = f"http://127.0.0.1:{server.server_port}/best.pth"
    server.site = SimpleNamespace(
        body=BODY, etag='"one"', modified="Sat, 18 Dec 2021 00:00:00 GMT", type="application/octet-stream",
        status=200, ranges=True, length=True, answer=None, cuts=[], stalls=[], requests=[], url=url, folder=folder,
        file=folder / "best.pth", part=folder / "best.pth.part", bad=folder / "best.pth.bad",
    )  # fmt: skip
    monkeypatch.setenv("LATENTJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    publish(monkeypatch, url)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server.site
    server.shutdown()
    server.server_close()


def publish(monkeypatch, url, sha256=None):
    monkeypatch.setitem(fetch.PUBLISHED, "creative", fetch.Entry((fetch.File(url, "best.pth", sha256),), "no licence"))


def problem(name="creative", destination=None):
    """The line of a fetch that must fail."""
    with pytest.raises(InputError) as caught:
        fetch.fetch(name, destination)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def break_off(site, *cuts):
    """A fetch whose every attempt is cut after so many bytes."""
    site.cuts = list(cuts)
    line = problem()
    assert site.cuts == []
    assert not site.file.exists()
    return line


def notes(site):
    return json.loads((site.folder / "fetched.json").read_text())


# ---- what is fetched


def test_a_file_is_fetched_with_its_sha256_remembered_and_not_fetched_again(site):
    for _ in range(2):
        fetched = fetch.fetch("creative")
        assert fetched.weights == site.file
        assert fetched.sha256 == {site.file: SHA256}
        assert site.file.read_bytes() == BODY
        assert notes(site) == {"best.pth": {"url": site.url, "sha256": SHA256}}
        assert sorted(os.listdir(site.folder)) == [".lock", "best.pth", "fetched.json"]
    assert site.requests == [("/best.pth", None, None)]


def test_plain_http_without_a_checksum_is_said(site, monkeypatch):
    said = "best.pth came over plain http and has no published checksum: latentjax can only tell if it changes"
    assert fetch.fetch("creative").remarks == ["no licence", said]
    publish(monkeypatch, site.url.replace("http:", "https:"))
    assert fetch.fetch("creative").remarks[1] == said.replace("came over plain http and ", "")
    publish(monkeypatch, site.url, SHA256)
    assert fetch.fetch("creative").remarks == ["no licence"]


def test_several_files_lie_in_one_folder_as_the_converter_looks_for_them(site, monkeypatch):
    entry = fetch.PUBLISHED["biggan-deep-128"]
    assert [file.name for file in entry.files] == ["pytorch_model.bin", "config.json"]
    moved = tuple(file._replace(url=file.url.replace(fetch.DEEP, site.url)) for file in entry.files)
    monkeypatch.setitem(fetch.PUBLISHED, "biggan-deep-128", entry._replace(files=moved))
    fetched = fetch.fetch("biggan-deep-128")
    assert biggan_deep.config_file(fetched.weights) == fetched.weights.with_name("config.json")
    assert list(fetched.sha256) == [fetched.weights, fetched.weights.with_name("config.json")]
    asked = [path for path, *_ in site.requests]
    assert asked == [f"/best.pth/biggan-deep-128-{name}" for name in ("pytorch_model.bin", "config.json")]


def test_a_file_put_there_by_hand_is_taken_and_remembered(site):
    site.folder.mkdir(parents=True)
    site.file.write_bytes(BODY)
    assert fetch.fetch("creative").sha256 == {site.file: SHA256}
    assert notes(site)["best.pth"]["sha256"] == SHA256
    assert site.requests == []


# ---- what goes on


@pytest.mark.parametrize(("etag", "validator"), [('"one"', '"one"'), ('W/"one"', None), (None, None)])
def test_a_body_that_breaks_off_goes_on_in_the_same_command(site, etag, validator):
    site.etag, site.cuts = etag, [100_000, 50_000]
    assert fetch.fetch("creative").sha256 == {site.file: SHA256}
    validator = validator or site.modified
    assert [request[1:] for request in site.requests] == [
        (None, None),
        ("bytes=100000-", validator),
        ("bytes=150000-", validator),
    ]


def test_a_body_that_stalls_goes_on_in_the_same_command(site, monkeypatch):
    monkeypatch.setattr(fetch, "TIMEOUT", 0.5)
    site.cuts, site.stalls = [100_000], [1.0]
    assert fetch.fetch("creative").sha256 == {site.file: SHA256}
    assert [request[2] for request in site.requests] == [None, '"one"']


def test_after_a_few_attempts_it_is_told_and_goes_on_with_the_next_command(site):
    line = break_off(site, 100_000, 10_000, 10_000, 10_000)
    assert line.startswith(f"{site.url}: broke off after 130,000 of 300,000 bytes; run the command again to go on, or ")
    assert site.part.read_bytes() == BODY[:130_000]
    assert fetch.fetch("creative").sha256 == {site.file: SHA256}
    assert site.requests[-1] == ("/best.pth", "bytes=130000-", '"one"')
    assert not site.part.exists()


def test_a_server_without_ranges_starts_anew(site):
    site.ranges, site.cuts = False, [100_000]
    assert fetch.fetch("creative").sha256 == {site.file: SHA256}
    assert len(site.requests) == 2


def test_a_file_that_changed_meanwhile_is_not_glued_to_the_old_part(site):
    break_off(site, 100_000, 0, 0, 0)
    site.body, site.etag, site.modified = OTHER, '"two"', "Sun, 19 Dec 2021 00:00:00 GMT"
    fetch.fetch("creative")
    assert site.requests[-1] == ("/best.pth", "bytes=100000-", '"one"')
    assert site.file.read_bytes() == OTHER


def test_the_part_of_another_address_is_not_gone_on_with(site, monkeypatch):
    break_off(site, 100_000, 0, 0, 0)
    publish(monkeypatch, f"{site.url}?mirror")
    fetch.fetch("creative")
    assert site.requests[-1] == ("/best.pth?mirror", None, None)


def test_without_anything_to_tell_versions_apart_a_part_is_dropped(site):
    site.etag = site.modified = None
    break_off(site, *[100_000] * 4)
    assert fetch.fetch("creative").sha256 == {site.file: SHA256}
    assert {request[1:] for request in site.requests} == {(None, None)}


@pytest.mark.parametrize("answer", ["bytes 0-299999/300000", "bytes 100000-399999/400000", "nonsense"])
def test_a_range_that_was_not_asked_for_starts_anew(site, answer):
    site.cuts, site.answer = [100_000], answer
    assert fetch.fetch("creative").sha256 == {site.file: SHA256}
    assert [request[1] for request in site.requests] == [None, "bytes=100000-", None]


def test_a_range_that_cannot_be_had_starts_anew(site):
    break_off(site, 100_000, 0, 0, 0)
    site.body = BODY[:50_000]
    assert fetch.fetch("creative").sha256 == {site.file: hashlib.sha256(BODY[:50_000]).hexdigest()}
    assert [request[1] for request in site.requests][-2:] == ["bytes=100000-", None]


def test_a_part_that_is_whole_only_gets_its_name(site, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(fetch, "sha256_of", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch.fetch("creative")
    assert not site.file.exists()
    assert fetch.fetch("creative").sha256 == {site.file: SHA256}
    assert len(site.requests) == 1


def interrupted(path):
    raise KeyboardInterrupt


# ---- what is refused


def test_a_file_of_another_sha256_than_the_published_one_is_set_aside(site, monkeypatch):
    publish(monkeypatch, site.url, "0" * 64)
    said = f"{site.bad}: has sha256 {SHA256}, not {'0' * 64} that is published; run the command again"
    assert problem() == said
    assert site.bad.read_bytes() == BODY
    assert not site.file.exists()
    assert not site.part.exists()
    publish(monkeypatch, site.url, SHA256)
    assert fetch.fetch("creative").sha256 == {site.file: SHA256}


def test_a_later_fetch_of_a_different_file_is_refused(site):
    fetch.fetch("creative")
    site.file.unlink()
    site.body, site.etag = OTHER, '"two"'
    line = problem()
    assert line.startswith(f"{site.bad}: has sha256 {hashlib.sha256(OTHER).hexdigest()}, not {SHA256} that was rememb")
    assert f"delete {site.folder}/fetched.json if its authors did replace it" in line
    assert not site.file.exists()
    assert notes(site)["best.pth"]["sha256"] == SHA256


def test_a_file_that_was_altered_on_disk_is_refused_and_kept(site):
    fetch.fetch("creative")
    site.file.write_bytes(OTHER)
    assert problem().startswith(f"{site.file}: has sha256 {hashlib.sha256(OTHER).hexdigest()}, not {SHA256} that was ")
    assert site.file.read_bytes() == OTHER
    assert len(site.requests) == 1


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        ({"status": 404}, "cannot be had (HTTP 404 Not Found)"),
        ({"status": 503}, "cannot be had (HTTP 503 Service Unavailable)"),
        ({"type": "text/html; charset=utf-8"}, "gives a web page, not the file"),
        ({"body": b"\n<!DOCTYPE html><title>Moved</title>"}, "gives a web page, not the file"),
        ({"body": b"version https://git-lfs.github.com/spec/v1\n"}, "gives a Git LFS pointer, not the file"),
        ({"body": b""}, "gives nothing, not the file"),
        ({"length": False}, "comes without its length, so that a cut would go unseen"),
    ],
)
def test_what_is_not_the_file_is_refused_with_the_way_by_hand(site, setting, what):
    site.__dict__.update(setting)
    line = problem(destination="my weights")
    assert line.startswith(f"{site.url}: {what}; ")
    by_hand = f"by hand: save {site.url} as {site.file}, then run: python -m converters {site.file} 'my weights'"
    assert line.endswith(f", or {by_hand}")
    assert not site.file.exists()
    assert not site.part.exists()
    assert len(site.requests) == 1


def test_a_page_in_between_keeps_the_part(site):
    break_off(site, 100_000, 0, 0, 0)
    site.type, site.ranges = "text/html", False
    assert "gives a web page" in problem()
    assert site.part.read_bytes() == BODY[:100_000]


def test_without_a_network_it_is_one_line(site, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        publish(monkeypatch, f"http://127.0.0.1:{closed.getsockname()[1]}/best.pth")
        assert re.match(r"http://\S+: cannot be reached \(.*refused\); check the network, or by hand: save ", problem())


def test_an_unknown_name_is_told_the_known_ones(refused):
    line = refused(command.main, "--fetch", "biggan-1024")
    assert line.startswith("--fetch: 'biggan-1024' is unknown; use one of biggan-128, biggan-256, biggan-512, ")
    assert line.endswith("biggan-deep-128, biggan-deep-256, biggan-deep-512\n")


class FullDisk(io.FileIO):
    """A file on a disk that has room for its first chunk only."""

    def write(self, chunk):
        if self.tell():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(chunk)


def test_a_full_disk_is_told_and_its_part_gone_on_with(site, monkeypatch):
    with monkeypatch.context() as patch:
        opened = {"wb": FullDisk}
        patch.setattr(fetch, "open", lambda path, mode: opened.get(mode, open)(path, mode), raising=False)
        line = problem()
    assert line.startswith(f"{site.folder}: cannot be used (No space left on device); free space or set ")
    assert ", or by hand: save " in line
    assert site.part.read_bytes() == BODY[: fetch.CHUNK]
    assert fetch.fetch("creative").sha256 == {site.file: SHA256}
    assert site.requests[-1][1] == f"bytes={fetch.CHUNK}-"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told(site):
    site.folder.mkdir(parents=True)
    site.folder.chmod(0o500)
    assert problem().startswith(f"{site.folder}: cannot be used (Permission denied); free space or set ")


def test_a_cache_that_is_a_file_is_told(site):
    (site.folder.parent.parent).write_text("")
    assert problem().startswith(f"{site.folder}: cannot be used (Not a directory); free space or set ")


def test_a_second_process_is_refused(site):
    site.folder.mkdir(parents=True)
    with fetch._alone(site.folder):
        assert problem() == f"{site.folder}: is being written by another process; wait until it is done"
    fetch.fetch("creative")


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", '{"best.pth": 3}', "\0", '{"best.pth": {"sha256": 3}}', '{"best.pth.part": {"size": "x"}}'),
        *('{"best.pth.part": {"url": 3}}', '{"best.pth.part": {"validator": 3}}', '{"best.pth.part": {"size": null}}'),
    ],
)
def test_damaged_notes_are_refused(site, text):
    site.folder.mkdir(parents=True)
    (site.folder / "fetched.json").write_text(text)
    assert problem().startswith(f"{site.folder}/fetched.json: is damaged; delete it")
    assert site.requests == []


def test_behind_a_closed_folder_the_way_by_hand_is_told(site, monkeypatch):
    def closed(path, *rest, **more):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    # root may look everywhere
    monkeypatch.setattr(os, "stat", closed)
    line = problem()
    assert line.startswith(f"{site.folder}: cannot be used (Permission denied); free space or set ")
    assert f", or by hand: save {site.url} as {site.file}, then run: " in line


def test_where_nothing_keeps_a_second_process_out_it_is_fetched_as_well(site, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    assert fetch.fetch("creative").sha256 == {site.file: SHA256}


# ---- the command


def test_stopped_by_hand_it_goes_on_with_the_same_command(site, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["converters", "--fetch", "creative"])
    with monkeypatch.context() as patch:
        patch.setattr(fetch, "sha256_of", interrupted)
        assert command.main() == 75
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == "stopped; run the same command again to go on"
    assert "Traceback" not in err
    assert command.main() == 0
    assert len(site.requests) == 1


def test_the_command_prints_what_it_has_and_the_command_to_go_on_with(site, capsys):
    command.run(["--fetch", "creative"])
    assert capsys.readouterr().out.splitlines() == [
        f"{site.file}: sha256 {SHA256}",
        "note: no licence",
        "note: best.pth came over plain http and has no published checksum: latentjax can only tell if it changes",
        f"to convert it: python -m converters {site.file} weights/creative",
    ]


@pytest.mark.parametrize("flags_first", [True, False])
def test_with_a_folder_it_converts(site, tmp_path, capsys, flags_first):
    torch.save({"w": torch.randn(1, 6)}, tmp_path / "vector.pth")
    site.body = (tmp_path / "vector.pth").read_bytes()
    flags, folder = ["--fetch", "creative", "--num-classes=3"], str(tmp_path / "model")
    command.run([*flags, folder] if flags_first else [folder, *flags])
    record = json.loads((tmp_path / "model" / "model.json").read_text())
    assert record["source"] == {"file": "best.pth", "sha256": hashlib.sha256(site.body).hexdigest()}
    assert f"{folder}: transformer " in capsys.readouterr().out


def test_a_destination_that_is_there_is_told_before_anything_is_downloaded(site, tmp_path, refused):
    (tmp_path / "thesis.tex").write_text("years of work")
    line = refused(command.main, "--fetch", "creative", tmp_path / "thesis.tex")
    assert line.startswith(f"{tmp_path}/thesis.tex: is there already; ")
    assert site.requests == []


@pytest.mark.parametrize("rest", [["a", "b"], ["a", "--inspect"], ["a", "--export"], ["--renorm=batch"]])
def test_what_does_not_fit_a_fetch_is_refused(site, refused, rest):
    assert refused(command.main, "--fetch", "creative", *rest).startswith("--fetch: takes a name, and ")
    assert site.requests == []


def test_the_commands_to_go_on_with_name_the_folders_that_configs_expect(monkeypatch):
    monkeypatch.setenv("LATENTJAX_CACHE", "/cache")
    for name, said in {
        "biggan-512": "biggan-512/biggan-512.pth weights/biggan512",
        "creative": "creative/best.pth weights/creative",
        "biggan-deep-256": "biggan-deep-256/pytorch_model.bin weights/biggandeep256",
    }.items():
        assert fetch.command(name) == f"python -m converters /cache/downloads/{said}"


def test_an_address_that_leads_away_from_https_is_refused(site, monkeypatch):
    opened = urllib.request.urlopen
    monkeypatch.setattr(urllib.request, "urlopen", lambda request, **rest: opened(site.url, **rest))
    publish(monkeypatch, "https://here/best.pth")
    assert problem().startswith("https://here/best.pth: leads to an address without https; ")
    assert not site.part.exists()


def test_settings_are_looked_at_before_it_downloads(site, refused):
    assert refused(command.main, "--fetch", "creative", "model", "--bn-epsilon=-1").startswith("--bn-epsilon: is -1")
    assert site.requests == []
