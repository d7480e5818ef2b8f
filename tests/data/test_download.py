"""Downloads from a server of our own on this machine."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from featherpose.data import download
from featherpose.errors import PoseError


class Server(ThreadingHTTPServer):
    """Serves `files`; breaks off the connection `breaks` times after half; may refuse ranges."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.breaks = 0
        self.ranges = True
        self.status: int | None = None
        self.log: list[tuple[str, int]] = []  # range header, bytes sent

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_):
        pass

    def do_GET(self):
        content = self.server.files.get(self.path[1:])
        if self.server.status or content is None:
            self.send_error(self.server.status or 404)
            return
        asked = self.headers.get("Range", "")
        start = int(asked[6:-1]) if asked and self.server.ranges else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        part = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.server.breaks:
            self.server.breaks -= 1
            part = part[: len(part) // 2]
        self.wfile.write(part)
        self.server.log.append((asked, len(part)))
        self.close_connection = True


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def zipped(names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in names.items():
            file.writestr(name, content)
    return buffer.getvalue()


PICTURE = bytes(range(256)) * 40


def test_fetches_unpacks_and_is_done(server, tmp_path, capsys):
    server.files["set.zip"] = archive = zipped(
        {"top/images/a.jpg": PICTURE, "top/joints.mat": b"mat"}
    )
    file = download.File(
        server.url("set.zip"), "lsp", "10 kB", hashlib.sha256(archive).hexdigest(), strip=1
    )
    download.fetch(file, tmp_path)
    assert (tmp_path / "lsp/images/a.jpg").read_bytes() == PICTURE
    assert (tmp_path / "lsp/joints.mat").read_bytes() == b"mat"
    assert not (tmp_path / "lsp/set.zip").exists()
    assert "set.zip" in capsys.readouterr().out
    download.fetch(file, tmp_path)
    assert len(server.log) == 1
    assert "there already" in capsys.readouterr().out


def test_goes_on_after_broken_connections(server, tmp_path):
    server.files["set.zip"] = archive = zipped({"a.jpg": PICTURE})
    server.breaks = 3
    download.fetch(
        download.File(server.url("set.zip"), "d", "", hashlib.sha256(archive).hexdigest()),
        tmp_path,
        wait=0,
    )
    assert (tmp_path / "d/a.jpg").read_bytes() == PICTURE
    assert sum(sent for _, sent in server.log) == len(archive)  # nothing came twice
    assert [asked != "" for asked, _ in server.log] == [False, True, True, True]


def test_goes_on_in_a_later_run(server, tmp_path):
    server.files["set.zip"] = archive = zipped({"a.jpg": PICTURE})
    (tmp_path / "d").mkdir()
    (tmp_path / "d/set.zip.part").write_bytes(archive[:500])
    download.fetch(download.File(server.url("set.zip"), "d", ""), tmp_path)
    assert server.log == [("bytes=500-", len(archive) - 500)]
    assert (tmp_path / "d/a.jpg").read_bytes() == PICTURE


def test_part_that_is_whole_already(server, tmp_path):
    server.files["set.zip"] = archive = zipped({"a.jpg": PICTURE})
    (tmp_path / "d").mkdir()
    (tmp_path / "d/set.zip.part").write_bytes(archive)
    download.fetch(download.File(server.url("set.zip"), "d", ""), tmp_path, wait=0)
    assert (tmp_path / "d/a.jpg").read_bytes() == PICTURE


def test_server_without_ranges_starts_again(server, tmp_path):
    server.files["set.zip"] = archive = zipped({"a.jpg": PICTURE})
    server.ranges = False
    (tmp_path / "d").mkdir()
    (tmp_path / "d/set.zip.part").write_bytes(b"something else")
    download.fetch(
        download.File(server.url("set.zip"), "d", "", hashlib.sha256(archive).hexdigest()), tmp_path
    )
    assert (tmp_path / "d/a.jpg").read_bytes() == PICTURE


def test_wrong_checksum(server, tmp_path):
    server.files["set.zip"] = zipped({"a.jpg": PICTURE})
    with pytest.raises(PoseError, match=r"set\.zip has the SHA-256"):
        download.fetch(download.File(server.url("set.zip"), "d", "", "0" * 64), tmp_path)
    assert not (tmp_path / "d/a.jpg").exists()
    assert not (tmp_path / "d/set.zip").exists()


@pytest.mark.parametrize(
    ("status", "sentence"), [(403, "answers 403.*fetch it in a browser"), (503, "can't be reached")]
)
def test_server_that_refuses(server, tmp_path, status, sentence):
    server.status = status
    with pytest.raises(PoseError, match=sentence):
        download.fetch(download.File(server.url("set.zip"), "d", ""), tmp_path, wait=0)


def test_nobody_answers(tmp_path, capsys):
    with pytest.raises(PoseError, match="run the same command again to go on"):
        download.fetch(download.File("http://127.0.0.1:9/set.zip", "d", ""), tmp_path, wait=0)
    assert capsys.readouterr().err.count("trying again") == 1  # more would not help


def test_a_server_that_falls_silent_is_given_up(tmp_path, monkeypatch):
    def silent(request, timeout=None):
        assert timeout == 60  # seconds
        raise TimeoutError("timed out")

    monkeypatch.setattr(download.urllib.request, "urlopen", silent)
    with pytest.raises(PoseError, match=r"can't be reached \(timed out\)"):
        download.fetch(download.File("https://example.org/set.zip", "d", ""), tmp_path, wait=0)


def test_page_instead_of_an_archive(server, tmp_path):
    server.files["set.zip"] = b"<html>log in first</html>"
    with pytest.raises(PoseError, match=r"set\.zip is damaged .* was deleted"):
        download.fetch(download.File(server.url("set.zip"), "d", ""), tmp_path)
    assert not (tmp_path / "d/set.zip").exists()


def test_archive_that_leads_out(server, tmp_path):
    server.files["set.zip"] = zipped({"../../evil.txt": b"x"})
    with pytest.raises(PoseError, match="leads out of"):
        download.fetch(download.File(server.url("set.zip"), "a/b", ""), tmp_path)
    assert not (tmp_path / "evil.txt").exists()


def tarred(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for info, content in members:
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize(
    "name", ["../evil.txt", "a/../../evil.txt", "..\\\\evil.txt", "C:/evil.txt"]
)
def test_nothing_of_a_hostile_archive_stays(tmp_path, kind, name):
    """Not even the good members that come before."""
    archive = tmp_path / f"set.{kind}"
    good, bad = tarfile.TarInfo("images/a.jpg"), tarfile.TarInfo(name)
    archive.write_bytes(
        zipped({"images/a.jpg": PICTURE, name: b"x"})
        if kind == "zip"
        else tarred((good, PICTURE), (bad, b"x"))
    )
    folder = tmp_path / "in" / "here"
    folder.mkdir(parents=True)
    with pytest.raises(PoseError, match="leads out of its folder; nothing was unpacked"):
        download.unpack(archive, folder)
    assert list(folder.rglob("*")) == []
    assert not (tmp_path / "evil.txt").exists()


def test_links_and_devices_are_left_out(tmp_path):
    link, device = tarfile.TarInfo("images"), tarfile.TarInfo("null")
    link.type, link.linkname, device.type = tarfile.SYMTYPE, str(tmp_path), tarfile.CHRTYPE
    inside = tarfile.TarInfo("images/evil.txt")
    (tmp_path / "set.tar.gz").write_bytes(tarred((link, b""), (device, b""), (inside, b"x")))
    folder = tmp_path / "d"
    folder.mkdir()
    download.unpack(tmp_path / "set.tar.gz", folder)
    assert not (folder / "images").is_symlink()
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["evil.txt"]
    assert not (tmp_path / "evil.txt").exists()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_is_counted_before_it_is_unpacked(tmp_path, kind, monkeypatch):
    archive, zeros = tmp_path / f"set.{kind}", bytes(120_000_000)
    if kind == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("zeros", zeros)
    else:
        archive.write_bytes(tarred((tarfile.TarInfo("zeros"), zeros)))
    monkeypatch.setattr(download, "_write", lambda *_: pytest.fail("written"))
    with pytest.raises(PoseError, match=r"would unpack to 120\.0 MB, which no dataset does"):
        download.unpack(archive, tmp_path)


def test_an_archive_that_breaks_off_in_the_middle_leaves_nothing(tmp_path):
    random = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
    whole = tarred((tarfile.TarInfo("a.jpg"), PICTURE), (tarfile.TarInfo("b.jpg"), random))
    archive, folder = tmp_path / "set.tar.gz", tmp_path / "d"
    archive.write_bytes(whole[:-100_000])
    folder.mkdir()
    (folder / "mine.txt").write_text("x")
    with pytest.raises(PoseError, match=r"set\.tar\.gz is damaged .* was deleted"):
        download.unpack(archive, folder)
    assert [path.name for path in folder.rglob("*")] == ["mine.txt"]


def test_what_is_there_already_stays_beside_what_comes(tmp_path):
    (tmp_path / "set.zip").write_bytes(zipped({"images/a.jpg": PICTURE}))
    (tmp_path / "d" / "images").mkdir(parents=True)
    (tmp_path / "d" / "images" / "mine.jpg").write_bytes(b"x")
    left = tmp_path / "d" / ".set.zip.unpacking" / "images"  # of a try that was killed
    left.mkdir(parents=True)
    (left / "half.jpg").write_bytes(b"x")
    download.unpack(tmp_path / "set.zip", tmp_path / "d")
    assert sorted(path.name for path in (tmp_path / "d").rglob("*")) == [
        "a.jpg",
        "images",
        "mine.jpg",
    ]


def test_a_hash_that_is_not_public_is_noted_and_said(server, tmp_path, capsys):
    server.files["set.zip"] = archive = zipped({"a.jpg": PICTURE})
    digest = hashlib.sha256(archive).hexdigest()
    download.fetch(download.File(server.url("set.zip"), "d", ""), tmp_path)
    assert f"publishes no SHA-256; this one's is noted: {digest}" in capsys.readouterr().out
    assert (tmp_path / "d" / ".set.zip.done").read_text() == f"{digest}  set.zip\n"


def test_plain_http_only_with_a_pinned_hash():
    for dataset in download.DATASETS.values():
        for file in dataset.files:
            assert file.url.startswith("https://") or (file.sha256 and file.length)


def test_tar(server, tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        info = tarfile.TarInfo("images/a.jpg")
        info.size = len(PICTURE)
        file.addfile(info, io.BytesIO(PICTURE))
    server.files["set.tar.gz"] = buffer.getvalue()
    download.fetch(download.File(server.url("set.tar.gz"), "mpii", ""), tmp_path, keep=True)
    assert (tmp_path / "mpii/images/a.jpg").read_bytes() == PICTURE
    assert (tmp_path / "mpii/set.tar.gz").is_file()


def test_every_dataset_names_its_checks(root):
    for dataset in download.DATASETS.values():
        for check in dataset.checks:
            assert (root / f"conf/data/{check}.yaml").is_file()
