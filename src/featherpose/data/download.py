"""Fetching the datasets from their official pages: with resume, progress and checksum."""

from __future__ import annotations

import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from featherpose.data.readers.source import checksum
from featherpose.errors import PoseError

TRIES = 5
BLOCK = 1 << 20


@dataclass(frozen=True)
class File:
    """An archive or a bare file of an official page."""

    url: str
    folder: str  # below the folder of all datasets
    size: str  # as the page says it
    sha256: str | None = (
        None  # the pages publish none; the first download's is kept beside the file
    )
    strip: int = 0  # leading folders of the archive's names that are dropped

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class Dataset:
    files: tuple[File, ...]
    checks: tuple[str, ...]
    by_hand: tuple[str, ...] = ()


DATASETS = {
    "coco": Dataset(
        files=(
            File(
                "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
                "coco",
                "241 MB",
            ),
            File("http://images.cocodataset.org/zips/val2017.zip", "coco", "1 GB"),
            File("http://images.cocodataset.org/zips/train2017.zip", "coco", "18 GB"),
        ),
        checks=("coco",),
        by_hand=(
            "The person detections for protocols with detected boxes (COCO_val2017_detections_AP_H_56_person.json) are "
            "shared by HRNet's authors on a drive that needs a browser; name the file with data.detections=FILE.",
        ),
    ),
    "mpii": Dataset(
        files=(
            File(
                "https://datasets.d2.mpi-inf.mpg.de/andriluka14cvpr/mpii_human_pose_v1_u12_2.zip",
                "mpii",
                "12.5 MB",
                strip=1,
            ),
            File(
                "https://datasets.d2.mpi-inf.mpg.de/andriluka14cvpr/mpii_human_pose_v1.tar.gz",
                "mpii",
                "12.9 GB",
            ),
        ),
        checks=("mpii",),
        by_hand=(
            "The validation split and its ground truth are not on MPII's page: put annot/ (train.json, valid.json and "
            "gt_valid.mat, as HRNet's authors share it) or detections_our_format.mat (Tompson's mpii_valid_pred.zip) "
            "into the mpii folder.",
        ),
    ),
    "lsp": Dataset(
        files=(
            File("http://sam.johnson.io/research/lsp_dataset_original.zip", "lsp", "196 MB"),
            File("http://sam.johnson.io/research/lspet_dataset.zip", "lspet", "155 MB"),
        ),
        checks=("lsp", "lspet"),
        by_hand=(
            "If the author's page is down, fetch the two archives in a browser from one of its mirrors.",
        ),
    ),
}


def fetch(file: File, to: Path, keep: bool = False, wait: float = 3.0) -> Path:
    """Downloads, checks and unpacks one file into its folder; what is done already is not done again."""
    folder = to / file.folder
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / f".{file.name}.done"
    if done.is_file():
        print(f"{file.name}: there already")
        return folder
    archive = folder / file.name
    if not archive.is_file():
        partly = archive.with_name(archive.name + ".part")
        _with_retries(lambda: _download(file.url, partly), file.url, wait)
        partly.replace(archive)
    digest = checksum(archive)
    if file.sha256 is not None and digest != file.sha256:
        archive.unlink()
        raise PoseError(
            f"{file.name} has the SHA-256 {digest[:16]} instead of {file.sha256[:16]}: fetch it again."
        )
    unpack(archive, folder, file.strip)
    done.write_text(f"{digest}  {file.name}\n", encoding="utf-8")
    if not keep:
        archive.unlink(missing_ok=True)
    return folder


def _with_retries(step: Callable[[], None], url: str, wait: float) -> None:
    for attempt in range(TRIES):
        try:
            return step()
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:
                raise PoseError(
                    f"{url} answers {error.code} {error.reason}: fetch it in a browser."
                ) from error
            reason = f"{error.code} {error.reason}"
        except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        if attempt + 1 < TRIES:
            time.sleep(wait * 2**attempt)
    raise PoseError(
        f"{url} can't be reached ({reason}); run the same command again to go on where it was."
    )


def _download(url: str, partly: Path) -> None:
    """Goes on after what is there, if the server can; a broken connection keeps what came."""
    have = partly.stat().st_size if partly.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have and _length(error.headers.get("Content-Range", "")) == have:
            return  # whole already
        if error.code == 416:
            partly.unlink()
        raise
    with answer:
        resumed = answer.status == 206
        have = have if resumed else 0
        left = answer.headers.get("Content-Length")
        total = have + int(left) if left is not None else None
        with partly.open("ab" if resumed else "wb") as out:
            _copy(answer, out, have, total, url.rsplit("/", 1)[1])
    if total is not None and partly.stat().st_size != total:
        raise ConnectionError(f"broken off after {partly.stat().st_size:,} of {total:,} bytes")


def _length(content_range: str) -> int | None:
    """The whole length of "bytes */123"."""
    length = content_range.rpartition("/")[2]
    return int(length) if length.isdigit() else None


def _copy(source: IO[bytes], out: IO[bytes], have: int, total: int | None, name: str) -> None:
    columns = (
        "{task.description}",
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        task = progress.add_task(name, total=total, completed=have)
        while block := source.read(BLOCK):
            out.write(block)
            progress.advance(task, len(block))


def unpack(archive: Path, folder: Path, strip: int = 0) -> None:
    """Into the folder and nowhere else; `strip` drops leading folders of the names."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as content:
                for member in content.infolist():
                    target = _target(member.filename, folder, strip)
                    if target is not None and not member.is_dir():
                        with content.open(member) as source:
                            _write(source, target)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as content:
                for member in content:
                    target = _target(member.name, folder, strip)
                    source = content.extractfile(member) if member.isfile() else None
                    if target is not None and source is not None:
                        _write(source, target)
        elif archive.suffix in (".zip", ".gz", ".tgz"):
            raise zipfile.BadZipFile("it is no archive")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        archive.unlink()
        raise PoseError(
            f"{archive.name} is damaged ({error}) and was deleted: run the same command again."
        ) from error


def _target(name: str, folder: Path, strip: int) -> Path | None:
    parts = [part for part in Path(name).parts if part not in ("/", ".")][strip:]
    if ".." in parts:
        raise PoseError(
            f"The archive holds {name!r}, which leads out of {folder}; it was not unpacked."
        )
    return folder.joinpath(*parts) if parts else None


def _write(source: IO[bytes], target: Path) -> None:
    """Whole or not at all: a broken unpacking leaves no half picture."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partly = target.with_name(target.name + ".part")
    with partly.open("wb") as out:
        shutil.copyfileobj(source, out, BLOCK)
    partly.replace(target)
