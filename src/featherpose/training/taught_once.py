"""A teacher's heatmaps of everybody's plain crop, kept on disk: it is asked once, however often a student learns."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.utils.data import DataLoader

from featherpose import crop
from featherpose.data.cache import gigabytes, room
from featherpose.data.datamodule import PoseDataModule
from featherpose.data.dataset import CropDataset
from featherpose.errors import PoseError
from featherpose.files import locked
from featherpose.person import numbered
from featherpose.pixels import normalise
from featherpose.training.teachers import Teacher, chained, inverse, scaled, warp

FORMAT = 2  # raise it when what is kept gets another meaning
AT_ONCE = 16  # people
_KIND = np.dtype("<f2")


class TaughtOnce:
    """Heatmaps from disk, warped as each crop was: turned, scaled and mirrored, with left and right exchanged.

    Args:
        path: where they are kept.
        maps: (M, K, h, w) float16, in the student's joints, of each plain crop.
        row: (N,) which of them is each person's.
        frames: (N, 2, 3) from each person's picture to that crop.
        stride: of the maps in it.
        teacher: which joints it knows.
        flip_order: of the student's joints.
    """

    def __init__(
        self,
        path: Path,
        maps: np.ndarray,
        row: np.ndarray,
        frames: Tensor,
        stride: float,
        teacher: Teacher,
        flip_order: tuple[int, ...],
    ) -> None:
        self.path, self.maps, self.frames, self.stride = path, maps, frames, stride
        self.row = row
        self.taught = teacher.taught
        self.flip_order = list(flip_order)

    def __deepcopy__(self, memo: dict[int, Any]) -> TaughtOnce:
        return self

    def __call__(
        self, index: Tensor, matrix: Tensor, size: tuple[int, int], stride: int
    ) -> tuple[Tensor, Tensor]:
        """Heatmaps (B, K, *size) of augmented crops, and peaks (B, K). `matrix` (B, 2, 3): from picture to crop."""
        people = index.cpu()
        maps = torch.from_numpy(self.maps[self.row[people.numpy()]]).to(matrix.device).float()
        frames = self.frames[people].to(matrix.device)
        mirrored = torch.linalg.det(matrix[:, :, :2]) < 0
        maps = torch.where(mirrored[:, None, None, None], maps[:, self.flip_order], maps)
        back = chained(frames, inverse(matrix.double()))  # from the crop to what is kept
        maps = warp(maps, scaled(back, into=1 / self.stride, before=stride), size)
        return maps, maps.amax(dim=(2, 3)).clamp(0, 1) * self.taught.to(maps.device)


def taught_once(teacher: Teacher, sha256: str, data: PoseDataModule) -> TaughtOnce:
    """What the teacher says of the training people: from disk, or asked now and kept there.

    Each crop is asked about once, however often an epoch shows it, so that other weights of sources need no asking.
    """
    people = data.train_people
    size = teacher.input_size or data.input_size
    persons = people.persons
    frames = crop.upright_matrices(persons.centre, persons.scale, (size[1], size[0]))
    key = hashlib.sha256(f"{FORMAT} {sha256} {size} {data.skeleton.joints}".encode())
    pictures = persons.images()
    crops = [
        f"{name} {frame.tobytes().hex()}" for name, frame in zip(pictures, frames, strict=True)
    ]
    once, row = numbered(crops)
    key.update("\n".join(once).encode())
    key.update(repr(sorted(people.sources.items())).encode())
    key.update(repr((teacher.order.tolist(), teacher.taught.tolist(), teacher.seen)).encode())
    folder = Path(data.cache_folder) if data.cache_folder is not None else Path("data") / "cache"
    path = folder / f"taught-{key.hexdigest()[:16]}.npy"
    plain = CropDataset(people, data.load, data.skeleton, size)
    if not path.is_file():
        _ask(teacher, plain, np.unique(row, return_index=True)[1].tolist(), path)
    try:
        maps = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise PoseError(f"{path} is damaged: delete it, and it is made again.") from error
    return TaughtOnce(
        path,
        maps,
        row,
        torch.from_numpy(frames),
        size[0] / maps.shape[2],
        teacher,
        data.skeleton.flip_order,
    )


def _ask(teacher: Teacher, plain: CropDataset, asked: list[int], path: Path) -> None:
    """The heatmaps of those crops into the file, which is there once it is whole; interrupted, it goes on where it was.

    Of several processes that come here together (ranks, jobs of a sweep) one asks, the others wait for it.
    """
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock")):
            if path.is_file():
                return
            with part.open("r+b" if part.is_file() else "w+b") as file:
                _go_on(teacher, plain, asked, file, path)
            os.replace(part, path)
    except OSError as error:
        raise PoseError(
            f"The teacher's heatmaps can't be kept in {path.parent} ({error.strerror}); set data.cache_folder."
        ) from error


def _go_on(
    teacher: Teacher, plain: CropDataset, asked: list[int], file: IO[bytes], path: Path
) -> None:
    """What the file does not hold yet."""
    done = _said_before(file)
    console = Console(stderr=True)
    if done:
        console.print(f"{done:,} of {len(asked):,} crops were asked about before.")
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("asking the teacher", total=len(asked), completed=done)
        for batch in DataLoader(plain, batch_size=AT_ONCE, sampler=asked[done:]):
            said, _ = teacher.say(normalise(batch["image"]))
            if file.tell() == 0:
                _begin(file, (len(asked), *said.shape[1:]), path, console)
            file.write(said.cpu().numpy().astype(_KIND).tobytes())
            file.flush()
            os.fsync(file.fileno())  # a power cut would leave empty rows that count
            bar.advance(task, len(said))


def _said_before(file: IO[bytes]) -> int:
    """How many crops' heatmaps an interrupted file holds; it is left standing behind the last whole one."""
    try:
        np.lib.format.read_magic(file)
        shape, _, kind = np.lib.format.read_array_header_1_0(file)
        if kind != _KIND:
            raise ValueError
    except ValueError:  # not even the beginning
        file.seek(0)
        file.truncate()
        return 0
    row = kind.itemsize * math.prod(shape[1:])
    start = file.tell()
    done = (file.seek(0, os.SEEK_END) - start) // row
    file.seek(start + done * row)
    file.truncate()
    return done


def _begin(file: IO[bytes], shape: tuple[int, ...], path: Path, console: Console) -> None:
    size = _KIND.itemsize * math.prod(shape)
    would = f"The teacher's heatmaps would take {gigabytes(size)} in {path.parent}"
    room(path.parent, size, would, "ask of every crop anew: loss.cache=false")
    console.print(f"Teacher's heatmaps: {gigabytes(size)} in {path}. It is asked once.")
    head = {"descr": _KIND.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, head)
