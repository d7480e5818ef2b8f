"""Fetching the datasets from their official pages: with resume, progress and checksum."""

from __future__ import annotations

import shutil
import socket
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
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
from featherpose.files import write_atomically

TRIES = 5
BLOCK = 1 << 20
LARGEST_RATIO = 20  # of unpacked to packed; COCO's annotations have 4, pictures 1
Archive = zipfile.ZipFile | tarfile.TarFile
Member = zipfile.ZipInfo | tarfile.TarInfo


@dataclass(frozen=True)
class File:
    """An archive or a bare file of an official page."""

    url: str
    folder: str  # below the folder of all datasets
    size: str  # as the page says it
    sha256: str | None = None  # where one is public; else the first download's is noted beside it
    length: int | None = None  # in bytes, published with the SHA-256
    strip: int = 0  # leading folders of the archive's names that are dropped

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class Dataset:
    files: tuple[File, ...]
    checks: tuple[str, ...]
    by_hand: tuple[str, ...] = ()


# COCO's host serves plain http only: its certificate is another name's. Its SHA-256 and lengths are those that
# TensorFlow Datasets publishes (tensorflow_datasets/url_checksums/coco2017.txt), so what comes is what it was.
DATASETS = {
    "coco": Dataset(
        files=(
            File(
                "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
                "coco",
                "253 MB",
                "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
                252_907_541,
            ),
            File(
                "http://images.cocodataset.org/zips/val2017.zip",
                "coco",
                "816 MB",
                "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
                815_585_330,
            ),
            File(
                "http://images.cocodataset.org/zips/train2017.zip",
                "coco",
                "19.3 GB",
                "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
                19_336_861_798,
            ),
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
            File("https://sam.johnson.io/research/lsp_dataset_original.zip", "lsp", "196 MB"),
            File("https://sam.johnson.io/research/lspet_dataset.zip", "lspet", "155 MB"),
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
        download(file.url, archive, wait)
    digest = checked(archive, file)
    unpack(archive, folder, file.strip)
    write_atomically(done, f"{digest}  {file.name}\n")
    if not keep:
        archive.unlink(missing_ok=True)
    return folder


def download(url: str, to: Path, wait: float = 3.0) -> None:
    """The file appears under its name when it is whole; a try that was broken off is gone on with."""
    partly = to.with_name(to.name + ".part")
    _with_retries(lambda: _download(url, partly), url, wait)
    partly.replace(to)


def checked(archive: Path, file: File) -> str:
    """The archive's SHA-256, equal to the public one; where there is none, it is noted and said."""
    length, digest = archive.stat().st_size, checksum(archive)
    if file.length not in (None, length) or file.sha256 not in (None, digest):
        archive.unlink()
        wanted = f"{(file.sha256 or '?')[:16]} and {file.length or length:,}"
        raise PoseError(
            f"{file.name} has the SHA-256 {digest[:16]} and {length:,} bytes instead of {wanted}; it was deleted: "
            "fetch it again."
        )
    if file.sha256 is None:
        print(f"{file.name}: its page publishes no SHA-256; this one's is noted: {digest}")
    return digest


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
            cause = getattr(error, "reason", error)
            reason = str(cause) or type(error).__name__
            if attempt and isinstance(cause, (ConnectionRefusedError, socket.gaierror)):
                break  # nobody is there, or there is no network: waiting longer would not help
        if attempt + 1 < TRIES:
            pause = wait * 2**attempt
            print(f"{reason}: trying again in {pause:.0f} s", file=sys.stderr)
            time.sleep(pause)
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


def unpack(archive: Path, folder: Path, strip: int = 0, keep: bool = False) -> None:
    """Into the folder and nowhere else, all or nothing; `strip` drops leading folders of the names.

    A damaged archive is deleted, so that it is fetched again, unless it is to be kept.
    Everything is counted before anything is written; then it is unpacked beside and moved into place file by file.
    """
    if keep and not zipfile.is_zipfile(archive):
        raise PoseError(f"{archive} is no zip archive, or a damaged one.")
    opener = _opener(archive)
    if opener is None:
        return  # a bare file
    beside = folder / f".{archive.name}.unpacking"
    shutil.rmtree(beside, ignore_errors=True)  # of an earlier try that was killed
    try:
        with opener(archive) as content:
            members = {member: _target(name, strip) for member, name, _ in _members(content)}
            _check_room(archive, sum(size for *_, size in _members(content)), folder)
            for member, target in members.items():
                source = _open(content, member) if target is not None else None
                if source is not None and target is not None:
                    with source:
                        _write(source, beside / target)
        _move(beside, folder)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        if keep:
            raise PoseError(f"{archive} is damaged ({error}).") from error
        archive.unlink()
        raise PoseError(
            f"{archive.name} is damaged ({error}) and was deleted: run the same command again."
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _opener(archive: Path) -> Callable[[Path], Archive] | None:
    if zipfile.is_zipfile(archive):
        return zipfile.ZipFile
    if tarfile.is_tarfile(archive):
        return tarfile.open
    if archive.suffix in (".zip", ".gz", ".tgz"):
        archive.unlink()
        raise PoseError(
            f"{archive.name} is damaged (it is no archive) and was deleted: run the same command again."
        )
    return None


def _members(content: Archive) -> Iterator[tuple[Member, str, int]]:
    """Each member with its name and its size unpacked."""
    if isinstance(content, zipfile.ZipFile):
        yield from ((member, member.filename, member.file_size) for member in content.infolist())
    else:
        yield from ((member, member.name, member.size) for member in content)


def _open(content: Archive, member: Member) -> IO[bytes] | None:
    """A plain file's bytes; None for folders, links and devices."""
    if isinstance(content, zipfile.ZipFile) and isinstance(member, zipfile.ZipInfo):
        return None if member.is_dir() else content.open(member)
    if isinstance(content, tarfile.TarFile) and isinstance(member, tarfile.TarInfo):
        return content.extractfile(member) if member.isfile() else None
    return None


def _target(name: str, strip: int) -> Path | None:
    parts = [
        part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", ".")
    ]
    if ".." in parts or any(":" in part for part in parts):
        raise PoseError(
            f"The archive holds {name!r}, which leads out of its folder; nothing was unpacked."
        )
    return Path(*parts[strip:]) if parts[strip:] else None


def _check_room(archive: Path, size: int, folder: Path) -> None:
    packed, free = archive.stat().st_size, shutil.disk_usage(folder).free
    if size > LARGEST_RATIO * packed + 10**8:
        raise PoseError(
            f"{archive.name} of {packed / 1e6:,.1f} MB would unpack to {size / 1e6:,.1f} MB, which no dataset does; "
            "nothing was unpacked."
        )
    if size > free:
        raise PoseError(
            f"{archive.name} unpacks to {size / 1e9:,.1f} GB, but only {free / 1e9:,.1f} GB are free in {folder}."
        )


def _write(source: IO[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as out:
        shutil.copyfileobj(source, out, BLOCK)


def _move(beside: Path, folder: Path) -> None:
    """Each file by one move; what was in the folder before stays, unless the archive holds the same name."""
    for path in sorted(beside.rglob("*")):
        target = folder / path.relative_to(beside)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            path.replace(target)
