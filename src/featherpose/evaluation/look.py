"""What a trained network sees: its previews, its attention maps, and the data a run was made on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn

from featherpose.data.datamodule import PoseDataModule
from featherpose.draw import contact_sheet, draw_pose, overlay_heatmaps
from featherpose.errors import PoseError
from featherpose.heatmaps import encode
from featherpose.inference.checkpoints import Loaded, from_checkpoint
from featherpose.models.layers import NonLocal
from featherpose.models.network import PoseNetwork, natural_height_of
from featherpose.person import spread
from featherpose.pixels import normalise
from featherpose.place import CONF
from featherpose.runs.folder import Run
from featherpose.targets import build, build_listed


def load_network(run: Run, which: str = "best") -> Loaded:
    """The network of a run's best (or last) checkpoint, on the CPU."""
    path = run.folder / "checkpoints" / f"{which}.ckpt"
    if not path.is_file():
        raise PoseError(f"{run.name} has no checkpoint {path}.")
    return from_checkpoint(path)


def load_data(config: Mapping[str, Any], trained: Loaded) -> PoseDataModule:
    """The data module of a resolved config, fitted to the network."""
    return build_listed(
        config["data"],
        "The run's config",
        trust=False,
        stride=trained.stride,
        natural_height=natural_height_of(trained.network),
    )


@dataclass(frozen=True)
class Given:
    """What a training is given: its data, and how the targets are painted."""

    data: PoseDataModule
    stride: int
    sigma: float
    quantised: bool

    def _repr_html_(self) -> str:
        people, (height, width) = self.data.train_people, self.data.input_size
        skipped = ", ".join(f"{n} {why}" for why, n in people.skipped.items()) or "nobody"
        return (
            f"<b>{self.data.name}</b>: {len(people.persons):,} persons to train on, left out: {skipped}<br>"
            f"crops {height}x{width}, heatmaps {height // self.stride}x{width // self.stride}"
        )


def given(overrides: str) -> Given:
    """Data and targets as `train` would make them of these overrides, fitted to the network that they name."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides=overrides.split())
    network: PoseNetwork = build(cfg.model)
    data: PoseDataModule = build(
        cfg.data,
        stride=network.stride,
        natural_height=natural_height_of(network),
        seed=cfg.seed,
    )
    loss = cfg.loss.get("labels") or cfg.loss  # of a student
    return Given(data, network.stride, float(loss.sigma), bool(loss.quantised))


def batch_of(dataset: Any, count: int = 4) -> dict[str, Tensor]:
    """Some samples of a dataset, spread evenly, as one batch."""
    found = [dataset[int(i)] for i in spread(len(dataset), count)]
    return {
        key: torch.stack([sample[key] for sample in found])
        for key in ("image", "joints", "visible", "matrix")
    }


@torch.no_grad()
def attention_maps(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """How strongly each place attends to each other, by Non-Local module: (B, h, w, h, w), rows sum to 1.

    Args:
        network: with `NonLocal` modules; others give an empty dict.
        images: (B, 3, H, W) uint8.
    """
    maps: dict[str, Tensor] = {}
    handles = []
    for name, module in network.named_modules():
        if isinstance(module, NonLocal):
            handles.append(module.register_forward_pre_hook(_recorder(maps, name)))
    try:
        network(normalise(images))
    finally:
        for handle in handles:
            handle.remove()
    return maps


def attention_sheet(
    trained: Loaded, batch: dict[str, Tensor], joint: int = 0, side: int = 192
) -> np.ndarray:
    """One row per sample: the crop, then where each Non-Local module looks from one joint's place."""
    maps = attention_maps(trained.network, batch["image"])
    if not maps:
        raise PoseError(
            f"{type(trained.network).__name__} has no Non-Local modules in this configuration."
        )
    tiles, labels = [], []
    for row, image in enumerate(batch["image"].permute(0, 2, 3, 1).numpy()):
        x, y = batch["joints"][row, joint].tolist()
        picture = cv2.resize(
            np.ascontiguousarray(image), (round(side * image.shape[1] / image.shape[0]), side)
        )
        marked = cv2.circle(
            picture.copy(), _place(x, y, image, picture), 5, (255, 255, 255), -1, cv2.LINE_AA
        )
        tiles.append(marked)
        labels.append(trained.skeleton.joints[joint])
        for name, weights in maps.items():
            height, width = weights.shape[1:3]
            at = (
                int(np.clip(y * height / image.shape[0], 0, height - 1)),
                int(np.clip(x * width / image.shape[1], 0, width - 1)),
            )
            seen = weights[row, at[0], at[1]].numpy()
            tiles.append(_shade(picture, seen))
            labels.append(f"{name.split('.hourglass')[0]}, most {seen.max():.2f}")
    return contact_sheet(tiles, columns=1 + len(maps), labels=labels)


def augmentation_sheet(data: PoseDataModule, people: int = 3, epochs: int = 5) -> np.ndarray:
    """A row per person: the plain crop, then what each epoch would train on."""
    plain, augmented = data.dataset(data.train_people), data.train_dataset()
    tiles = []
    for index in map(int, spread(len(plain), people)):
        for sample in (plain[index], *(augmented[(epoch, index)] for epoch in range(epochs))):
            image = np.ascontiguousarray(sample["image"].permute(1, 2, 0).numpy())
            joints, visible = sample["joints"].numpy(), 2 * sample["visible"].numpy()
            tiles.append(draw_pose(image, joints, visible, data.skeleton))
    return contact_sheet(tiles, columns=1 + epochs)


def target_sheet(
    batch: dict[str, Tensor], stride: int, sigma: float, quantised: bool = True
) -> np.ndarray:
    """The crops with their target heatmaps laid over them."""
    height, width = batch["image"].shape[2:]
    size = (height // stride, width // stride)
    targets, _ = encode(batch["joints"] / stride, batch["visible"], size, sigma, quantised)
    images = batch["image"].permute(0, 2, 3, 1).numpy()
    tiles = [
        overlay_heatmaps(image, maps.numpy()) for image, maps in zip(images, targets, strict=True)
    ]
    return contact_sheet(tiles, columns=min(6, len(tiles)))


def _recorder(maps: dict[str, Tensor], name: str) -> Any:
    def record(module: NonLocal, inputs: tuple[Tensor, ...]) -> None:
        (x,) = inputs
        queries, keys = module.theta(x).flatten(2), module.phi(x).flatten(2)
        weights = (queries.transpose(1, 2) @ keys).softmax(-1)
        height, width = x.shape[2:]
        maps[name] = weights.reshape(len(x), height, width, height, width).float().cpu()

    return record


def _shade(picture: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Bright where the attention goes; relative to its own maximum."""
    large = cv2.resize(
        weights / max(float(weights.max()), 1e-9),
        picture.shape[1::-1],
        interpolation=cv2.INTER_NEAREST,
    )
    return (picture * (0.2 + 0.8 * large[..., None])).astype(np.uint8)


def _place(x: float, y: float, image: np.ndarray, picture: np.ndarray) -> tuple[int, int]:
    return round(x * picture.shape[1] / image.shape[1]), round(
        y * picture.shape[0] / image.shape[0]
    )
