"""Files appear whole or not at all, and what a killed writer left is removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from featherpose.errors import PoseError
from featherpose.files import refuse_strangers, remove_leftovers, replacing, write_atomically


def test_a_file_is_replaced_whole_and_keeps_its_ending(tmp_path: Path) -> None:
    path = tmp_path / "new" / "model.onnx"
    with replacing(path) as beside:
        beside.write_text("first")
        assert not path.exists()
        assert (beside.parent, beside.suffix) == (path.parent, ".onnx")
    write_atomically(path, "second")
    assert [each.name for each in path.parent.iterdir()] == ["model.onnx"]
    assert path.read_text() == "second"


def test_nothing_stays_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        write_atomically(tmp_path / "run.json", "{}")
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_failed_writer_leaves_the_old_file_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    path.write_text("old")

    def broken_off() -> None:
        with replacing(path) as beside:
            beside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert [each.name for each in tmp_path.iterdir()] == ["last.ckpt"]
    assert path.read_text() == "old"


def test_data_and_move_are_flushed_to_the_disk_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, move = os.fsync, os.replace

    def flushed(descriptor: int) -> None:
        done.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def moved(source: Path, target: Path) -> None:
        done.append("move")
        move(source, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", moved)
    write_atomically(tmp_path / "run.json", "{}")
    assert done == [f".run.{os.getpid()}.part.json", "move", tmp_path.name]


def test_names_as_long_as_a_file_system_takes_them(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 120 + ".jpg")  # 244 bytes
    write_atomically(path, "x")
    assert path.read_text() == "x"


WRITER = """
import sys, time
from pathlib import Path
from featherpose.files import replacing
with replacing(Path(sys.argv[1])) as beside:
    beside.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_only_what_dead_writers_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    killed, alive = (
        subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        for _ in range(2)
    )
    for writer in (killed, alive):
        assert writer.stdout is not None
        writer.stdout.readline()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    mine = tmp_path / ".notes.part1.txt"  # a user's own file
    mine.write_text("x")
    left = path.with_name(f".last.{killed.pid}.part.ckpt")
    assert remove_leftovers(tmp_path) == [left]
    assert path.with_name(f".last.{alive.pid}.part.ckpt").is_file()
    assert mine.is_file()
    alive.kill()
    alive.wait()


def test_a_folder_that_somebody_else_filled(tmp_path: Path) -> None:
    refuse_strangers("web", tmp_path / "new", "mark")
    refuse_strangers("web", tmp_path, "mark")
    (tmp_path / ".git").mkdir()
    refuse_strangers("web", tmp_path, "mark")
    (tmp_path / "index.html").touch()
    with pytest.raises(PoseError, match=r"holds other files, as index\.html"):
        refuse_strangers("web", tmp_path, "mark")
    (tmp_path / "mark").touch()
    refuse_strangers("web", tmp_path, "mark")
