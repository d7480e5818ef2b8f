"""A teacher's heatmaps of everybody's plain crop, kept on disk: it is asked once, however often a student learns."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader

from featherpose import crop
from featherpose.data.cache import gigabytes
from featherpose.data.datamodule import PoseDataModule
from featherpose.data.dataset import CropDataset
from featherpose.errors import PoseError
from featherpose.files import locked, replacing
from featherpose.person import numbered
from featherpose.pixels import normalise
from featherpose.training.teachers import Teacher, chained, inverse, scaled, warp

FORMAT = 2  # raise it when what is kept gets another meaning
AT_ONCE = 16  # people


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
    """The heatmaps of those crops into the file, which is there once it is whole.

    Of several processes that come here together (ranks, jobs of a sweep) one asks, the others wait for it.
    """
    maps = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock")):
            if path.is_file():
                return
            done = 0
            batches = DataLoader(plain, batch_size=AT_ONCE, sampler=asked)
            with replacing(path) as beside:
                for batch in track(batches, "asking the teacher", transient=True):
                    said, _ = teacher.say(normalise(batch["image"]))
                    if maps is None:
                        shape = (len(asked), *said.shape[1:])
                        print(f"{path}: {gigabytes(2 * np.prod(shape))}", flush=True)
                        maps = np.lib.format.open_memmap(
                            beside, mode="w+", dtype=np.float16, shape=shape
                        )
                    maps[done : done + len(said)] = said.cpu().numpy()
                    done += len(said)
                assert maps is not None
                maps.flush()
    except OSError as error:
        raise PoseError(
            f"The teacher's heatmaps can't be kept in {path.parent} ({error.strerror}); set data.cache_folder."
        ) from error
