"""The people of a dataset as Lightning's loaders; conf/data/*.yaml say how each set is read."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from copy import copy
from dataclasses import replace
from functools import cached_property, partial
from itertools import repeat
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader

from featherpose.data.augment import Augment
from featherpose.data.cache import open_crops, plan
from featherpose.data.dataset import CropDataset, Load, calm_worker
from featherpose.data.device import DeviceCrops, DeviceLoader, jitter_of, to_device
from featherpose.data.sampler import PersonSampler
from featherpose.errors import PoseError
from featherpose.metrics.collect import KeypointMetric
from featherpose.metrics.oks import OKS
from featherpose.person import People, Person
from featherpose.protocol import Protocol
from featherpose.settings import choice, number, numbers, whole
from featherpose.skeletons import skeleton_of

CACHES = ("crops", "device")


class OneBatch:
    """A loader that gives the same batch again and again; of a list Lightning would take each entry for a loader."""

    def __init__(self, batch: dict[str, Any], times: int) -> None:
        self.batch, self.times = batch, times

    def __len__(self) -> int:
        return self.times

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return repeat(self.batch, self.times)


class PoseDataModule(L.LightningDataModule):
    """Training and validation people of one dataset, cropped to what the network takes.

    Args:
        name: of the dataset; schedules and tables pick their row by it.
        skeleton: a name (coco, mpii, lsp) or a mapping that declares people's own.
        read: called as `read(root=..., split=...)` for the splits train and val; gives `People`.
        load: gives a person's picture, uint8 RGB (H, W, 3).
        metric: called as `metric(persons, skeleton=...)`; gives the torchmetrics Metric that scores this dataset.
        joints: number of joints, if given it must be the skeleton's: the config's networks read it.
        root: the dataset's folder, unpacked as the official site gives it.
        aspect: the crop's width / height.
        input_size: (height, width), or null for the network's natural height.
        batch_size: of all processes together.
        augment: what happens to training crops; null for plain ones.
        cache: null; "crops" for decoded regions in a memory map under `cache_folder`; "device" for regions on the
            training's device, where crops are warped too.
        seed: of order and augmentation.
        stride, natural_height: the network's, passed by the command line.
        scale_range: the field's usual random scale on this set, which augment=lapx reads.
        one_batch: so many steps an epoch on one and the same batch of the training set; null for all batches.
        detections: a file of detected boxes for protocols that score them (COCO).
        also: further sets of a joint reader that the same network is scored on: {name: metric}.
        shared: what only other entries of the YAML refer to, e.g. `people` of synthetic; Hydra refuses unknown keys.
    """

    def __init__(
        self,
        name: str,
        skeleton: str | Mapping,
        read: Callable[..., People],
        load: Load,
        metric: Callable[..., Any],
        joints: int | None = None,
        root: str | Path | None = None,
        aspect: float = 1.0,
        input_size: Sequence[int] | None = None,
        batch_size: int = 32,
        workers: int = 2,
        augment: Augment | None = None,
        cache: str | None = None,
        cache_folder: str | Path | None = None,
        seed: int = 0,
        stride: int = 4,
        natural_height: int = 256,
        scale_range: Sequence[float] | None = None,
        one_batch: int | None = None,
        detections: str | Path | None = None,
        also: Mapping[str, Callable[..., Any]] | None = None,
        **shared: Any,
    ) -> None:
        super().__init__()
        self.name = name
        self.skeleton = skeleton_of(skeleton)
        if joints is not None and joints != len(self.skeleton):
            raise PoseError(
                f"data.joints is {joints}, but the skeleton {self.skeleton.name} has {len(self.skeleton)}."
            )
        if cache is not None:
            choice("data.cache", cache, CACHES)
        self.read = read
        self.load = load
        self.metric = partial(metric, skeleton=self.skeleton)
        self.root = Path(root) if root is not None else None
        self.stride = int(stride)
        self.input_size = _input_size(
            input_size, int(natural_height), number("data.aspect", aspect, above=0), self.stride
        )
        self.batch_size = whole("data.batch_size", batch_size, least=1)
        self.workers = whole("data.workers", workers, least=0)
        self.augment = augment
        self.cache = cache
        self.cache_folder = cache_folder
        self.seed = whole("seed", seed, least=0)
        self.scale_range = scale_range
        self.one_batch = None if one_batch is None else whole("data.one_batch", one_batch, least=1)
        self.detections = detections
        self.measures = dict(also or {})
        self._position = (0, 0)
        self._train_sampler: PersonSampler | None = None
        self._kept: dict[str, DeviceCrops] = {}  # by split, with cache="device"

    @property
    def scored_on(self) -> str:
        """The set that validates: one of several (lsp_mpii), or the only one."""
        return getattr(self.read, "keywords", {}).get("validate", self.name)

    @cached_property
    def also(self) -> dict[str, PoseDataModule]:
        """The further sets, by their names: this very module with their people and their measure."""
        others = [name for name in self.measures if name != self.scored_on]
        return {name: self._of_set(name) for name in others}

    def _of_set(self, name: str) -> PoseDataModule:
        other = copy(self)
        other.read = partial(self.read, validate=name)
        other.metric = partial(self.measures[name], skeleton=self.skeleton)
        other.measures, other._kept = {}, {}
        for known in ("val_people", "also"):
            other.__dict__.pop(known, None)
        return other

    @cached_property
    def train_people(self) -> People:
        return self.read(root=self.root, split="train")

    @cached_property
    def val_people(self) -> People:
        return self.read(root=self.root, split="val")

    def validate_on(self, people: People) -> None:
        """From now on these are the validation people."""
        self.val_people = people

    def validate_joints(self, wanted: str | Sequence[str]) -> list[int]:
        """From now on the validation people have these joints alone, by a measure of PCK; where they stood."""
        whole, part = self.skeleton, self.skeleton.only(wanted)
        order = [whole.index(joint) for joint in part.joints]
        for data in (self, *self.also.values()):
            before = data.new_metric()
            if isinstance(before, OKS):
                raise PoseError(
                    f"Some joints alone are for PCK, and {data.scored_on} is scored by AP."
                )
            persons = data.val_people.persons
            some = replace(
                persons, joints=persons.joints[:, order], visible=persons.visible[:, order]
            )
            data.validate_on(replace(data.val_people, persons=some))
            data.skeleton = part
            data.metric = partial(data.metric, skeleton=part)
            if data.new_metric().main != before.main.replace("@", f"({len(part)} joints)@"):
                ends = " and ".join(whole.joints[joint] for joint in whole.torso or ())
                raise PoseError(
                    f"{before.main} is measured by {ends}: joints= has to name them too."
                )
        return order

    def setup(self, stage: str | None = None) -> None:
        """Reads the annotations now, so that what is wrong with them shows before the first step."""
        if stage in (None, "fit"):
            self._not_empty(self.train_people, "train")
        for data in (self, *self.also.values()):
            self._not_empty(data.val_people, "val")

    def new_metric(
        self, mean: str | None = None, persons: Iterable[Person] | None = None
    ) -> KeypointMetric:
        """An empty metric of the validation people; `mean` is the protocol's, where the measure has a choice of it.

        `persons` are some of them: where these are annotated, nobody else is looked for.
        """
        people = self.val_people.persons if persons is None else persons
        known = inspect.signature(self.metric).parameters
        given: dict[str, Any] = {"aspect": self.input_size[1] / self.input_size[0]}
        if mean is not None:
            given["mean"] = mean
        if persons is not None and self.val_people.boxes != "detections":
            given["truth"] = None
        return self.metric(people, **{key: each for key, each in given.items() if key in known})

    def stamp(self, protocol: Protocol, stride: int, metric: KeypointMetric) -> dict[str, Any]:
        """How a score of the validation people came about: what was done, whatever was asked for."""
        return protocol.applied(stride, self.val_people.boxes, metric.mean).as_dict()

    def set_position(self, epoch: int, batches_done: int) -> None:
        """Training goes on in `epoch` after `batches_done` batches; call it before the loader's first batch."""
        self._position = (int(epoch), int(batches_done))
        if self._train_sampler is not None:
            self._train_sampler.set_position(*self._position)

    def train_dataset(self) -> CropDataset:
        return self.dataset(self.train_people, self.augment)

    def val_dataset(self) -> CropDataset:
        return self.dataset(self.val_people)

    def dataset(
        self, people: People, augment: Augment | None = None, cached: bool = True
    ) -> CropDataset:
        dataset = CropDataset(people, self.load, self.skeleton, self.input_size, augment, self.seed)
        if cached and self.cache == "crops":
            planned = plan(people, self.load, self.skeleton, dataset.size_wh, augment)
            dataset.cache = open_crops(planned, self._cache_folder(), self.load)
        return dataset

    def _cache_folder(self) -> Path:
        return Path(self.cache_folder) if self.cache_folder is not None else Path("data") / "cache"

    def train_dataloader(self) -> DataLoader | DeviceLoader | OneBatch:
        if self.cache == "device":
            loader = self._device_loader("train")
        else:
            loader = self._loader(self.train_dataset(), shuffle=True)
        self._train_sampler = loader.sampler  # ty: ignore[invalid-assignment]
        self.set_position(*self._position)
        return loader if self.one_batch is None else OneBatch(next(iter(loader)), self.one_batch)

    def val_loader(self) -> DataLoader | DeviceLoader:
        """Of this set alone."""
        if self.cache == "device":
            return self._device_loader("val")
        return self._loader(self.val_dataset(), shuffle=False)

    def val_dataloader(self) -> DataLoader | DeviceLoader | list[DataLoader | DeviceLoader]:
        """Of all sets that are scored, this one first."""
        for other in self.also.values():
            other.trainer = self.trainer
        loaders = [data.val_loader() for data in (self, *self.also.values())]
        return loaders if len(loaders) > 1 else loaders[0]

    def turned_dataloader(self, rotation: float) -> DataLoader:
        """The validation people in pictures turned by so many degrees, each around its crop's centre."""
        dataset = self.dataset(self.val_people, cached=False)
        dataset.rotation = rotation
        return self._loader(dataset, shuffle=False)

    test_dataloader = val_dataloader
    predict_dataloader = val_loader

    def _device_loader(self, split: str) -> DeviceLoader:
        """Regions are decoded once a run, the loader around them is made as often as Lightning asks."""
        train = split == "train"
        people, augment = (self.train_people, self.augment) if train else (self.val_people, None)
        size_wh = (self.input_size[1], self.input_size[0])
        if split not in self._kept:
            jitter_of(augment)  # what the device can't do is said before anything is decoded
            planned = plan(people, self.load, self.skeleton, size_wh, augment)
            device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
            pixels = to_device(planned, self.load, device)
            self._kept[split] = DeviceCrops(
                people, pixels, planned, self.skeleton, size_wh, augment, self.seed
            )
        crops = self._kept[split]
        sampler = self._sampler(crops, shuffle=train)
        return DeviceLoader(crops, sampler, sampler.batch_size, whole=train)

    def _sampler(self, dataset: Sized, shuffle: bool) -> PersonSampler:
        """The order of this process's people, with its share of the batch."""
        ranks = self.trainer.world_size if self.trainer is not None else 1
        rank = self.trainer.global_rank if self.trainer is not None else 0
        if self.batch_size % ranks:
            raise PoseError(
                f"A batch of {self.batch_size} can't be shared by {ranks} processes; choose a multiple of {ranks}."
            )
        batch = self.batch_size // ranks
        return PersonSampler(dataset, self.seed, shuffle, ranks, rank, batch)

    def _loader(self, dataset: CropDataset, shuffle: bool) -> DataLoader:
        sampler = self._sampler(dataset, shuffle)
        return DataLoader(
            dataset,
            batch_size=sampler.batch_size,
            sampler=sampler,
            num_workers=self.workers,
            worker_init_fn=calm_worker,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    @staticmethod
    def _not_empty(people: People, split: str) -> None:
        if not people.persons:
            left_out = (
                ", ".join(f"{count} {why}" for why, count in people.skipped.items())
                or "nothing was left out"
            )
            raise PoseError(f"The split {split} has no person to use ({left_out}).")


def _input_size(
    size: Sequence[int] | None, natural_height: int, aspect: float, stride: int
) -> tuple[int, int]:
    if size is None:
        size = natural_height, round(natural_height * aspect)
    height, width = (
        whole("data.input_size", side, least=1)
        for side in numbers("data.input_size", size, count=2)
    )
    if height % stride or width % stride:
        raise PoseError(
            f"data.input_size [{height}, {width}] must be a multiple of the network's stride, {stride}."
        )
    return height, width
