"""People's regions kept on the device, and crops warped there: `data.cache=device`.

A small network on a GPU takes thousands of crops a second, more than CPUs decode and warp. Here each person's region is
decoded once, moved to the device as uint8, and every batch is made there: one index goes in, a batch comes out, and
nothing waits for the CPU. The warp is cv2's to the bit (coordinates in 1/1024 pixel, weights in 1/32), so training on
these crops is the same training. Draws come from (seed, epoch, person), whatever the device and the batch are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import albumentations as A
import numpy as np
import torch
from torch import Tensor

from featherpose import crop
from featherpose.data.augment import Augment
from featherpose.data.cache import Plan, decoded_regions, gigabytes
from featherpose.data.dataset import Load
from featherpose.data.sampler import PersonSampler
from featherpose.errors import PoseError
from featherpose.machine import cores
from featherpose.person import People
from featherpose.skeletons import Skeleton

THREADS = 16  # that decode; more only wait for the memory
SHARE = 0.7  # of the free memory that regions may take: the network needs the rest
CHUNK = 1 << 26  # bytes that are copied to the device at once
STEPS = 1024  # cv2 counts coordinates in so many steps a pixel,
WEIGHTS = 32  # and blends neighbours in so many


@dataclass(frozen=True)
class Jitter:
    """Brightness and contrast, as albumentations' RandomBrightnessContrast draws them; all 0: none."""

    brightness: tuple[float, float] = (0.0, 0.0)
    contrast: tuple[float, float] = (0.0, 0.0)
    probability: float = 0.0


class DeviceCrops:
    """All people of one split on a device, with the augmentation that happens there."""

    def __init__(
        self,
        people: People,
        pixels: Tensor,
        plan: Plan,
        skeleton: Skeleton,
        size_wh: Sequence[int],
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        persons, device = people.persons, pixels.device
        self.size_wh = int(size_wh[0]), int(size_wh[1])
        self.augment = augment
        self.seed = int(seed)
        self.jitter = jitter_of(augment)
        self.pixels, self.device = pixels, device  # (P, 3) uint8: all regions, one after the other
        self.order = torch.tensor(skeleton.flip_order, device=device)
        place = plan.regions[plan.region_of]  # (N, 4): x, y, width, height
        self.origin = torch.tensor(place[:, :2], device=device)
        self.extent = torch.tensor(place[:, 2:], device=device)
        self.start = torch.tensor(plan.offsets[:-1][plan.region_of] // 3, device=device)
        known = persons.visible > 0
        joints = np.where(known[..., None], persons.joints, 0.0)
        self.known = torch.tensor(known, device=device)  # (N, K)
        self.joints = torch.tensor(joints, dtype=torch.float64, device=device)  # (N, K, 2)
        self.centre = torch.tensor(persons.centre, dtype=torch.float64, device=device)
        widths = crop.fit_aspect(persons.scale, self.size_wh)[:, 0]
        self.width = torch.tensor(widths, dtype=torch.float64, device=device) * crop.PIXEL_STD

    def __len__(self) -> int:
        return len(self.start)

    def draws(self, epoch: int) -> Tensor:
        """(N, 7) numbers from 0 to 1 of this epoch: on every device, in every batch the same for a person."""
        drawn = np.random.default_rng([self.seed, epoch]).random((len(self), 7))
        return torch.from_numpy(drawn).to(self.device, non_blocking=True)

    def batch(self, index: Tensor, draws: Tensor | None = None) -> dict[str, Tensor]:
        """What `CropDataset` gives for these people, made here. `draws` (B, 7); None for plain crops."""
        # How each person is scaled, turned and mirrored
        augment = self.augment
        if augment is None or draws is None:
            rotation, flip = self.width.new_zeros(len(index)), torch.zeros_like(index).bool()
            matrix = crop_matrices(
                self.centre[index], self.width[index], self.size_wh, rotation, flip
            )
        else:
            warp = augment.warp
            zoom = warp.scale[0] + draws[:, 0] * (warp.scale[1] - warp.scale[0])
            turns = draws[:, 1] < warp.rotation_probability
            rotation = torch.where(turns, (2 * draws[:, 2] - 1) * warp.rotation, 0.0)
            flip = draws[:, 3] < warp.flip
            matrix = crop_matrices(
                self.centre[index], self.width[index] * zoom, self.size_wh, rotation, flip
            )
        # The picture (B, H, W, 3)
        image = cut(
            self.pixels,
            self.start[index],
            self.origin[index],
            self.extent[index],
            matrix,
            self.size_wh,
        )
        if draws is not None and self.jitter.probability > 0:
            image = jittered(image, self.jitter, draws[:, 4:])
        # The joints (B, K, 2): left and right exchanged in mirrored crops, then mapped
        joints = self.joints[index]
        known = self.known[index]
        joints = torch.where(flip[:, None, None], joints[:, self.order], joints)
        known = torch.where(flip[:, None], known[:, self.order], known)
        points = (joints[..., None, :] * matrix[:, None, :, :2]).sum(-1) + matrix[:, None, :, 2]
        points = torch.where(known[..., None], points, 0.0)
        return {
            "image": image.permute(0, 3, 1, 2),  # (B, 3, H, W), channels last in memory
            "joints": points.float(),
            "visible": known.float(),
            "matrix": matrix,
            "index": index,
        }


class DeviceLoader:
    """Batches of one epoch after the other, as a DataLoader would give them.

    Training leaves out what does not fill the last batch (`whole`): every step then has one shape, which compiling and
    cuDNN's choice of algorithms want. The order is another one each epoch, so nobody is left out for long.
    Lightning finds `sampler` and tells it the epoch.
    """

    batch_sampler = None  # Lightning asks for it wherever there is a sampler

    def __init__(
        self, crops: DeviceCrops, sampler: PersonSampler, batch_size: int, whole: bool
    ) -> None:
        self.crops = crops
        self.sampler = sampler
        self.batch_size = batch_size
        self.whole = whole and len(sampler) >= batch_size

    def __len__(self) -> int:
        full, rest = divmod(len(self.sampler), self.batch_size)
        return full + (rest > 0 and not self.whole)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        keys = list(self.sampler)  # fewer than an epoch's where a resumed run goes on within one
        if not keys:
            return
        draws = self.crops.draws(keys[0][0]) if self.crops.augment is not None else None
        order = torch.tensor([index for _, index in keys]).to(self.crops.device, non_blocking=True)
        left_out = len(self.sampler) % self.batch_size if self.whole else 0
        for index in order[: len(order) - left_out].split(self.batch_size):
            yield self.crops.batch(index, None if draws is None else draws[index])


def to_device(plan: Plan, load: Load, device: torch.device) -> Tensor:
    """All regions of a plan, decoded once, as (P, 3) uint8 on the device; says their size before it begins."""
    free = free_memory(device)
    said = f"{len(plan.regions):,} regions, {gigabytes(plan.size)}, on {device}"
    if plan.size > SHARE * free:
        raise PoseError(
            f"data.cache=device would keep {said}, but only {gigabytes(free)} are free there. "
            "Take data.cache=crops, which keeps them on disk."
        )
    print(f"Regions on the device: {said} ({gigabytes(free)} free).", flush=True)
    pixels = torch.empty(plan.size, dtype=torch.uint8, device=device)
    waiting: list[np.ndarray] = []
    size, done = 0, 0
    for region in decoded_regions(plan, load, min(THREADS, cores())):
        waiting.append(region.reshape(-1))
        size += region.size
        if size >= CHUNK:
            pixels[done : done + size] = torch.from_numpy(np.concatenate(waiting)).to(device)
            waiting = []
            done = done + size
            size = 0
    if waiting:
        pixels[done:] = torch.from_numpy(np.concatenate(waiting)).to(device)
    return pixels.view(-1, 3)


def free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return psutil.virtual_memory().available


def jitter_of(augment: Augment | None) -> Jitter:
    """The colour part of an augmentation, where the device can do it; a sentence where it can't."""
    if augment is None:
        return Jitter()
    if augment.warp.half_body > 0:
        raise PoseError(
            "data.cache=device warps whole bodies only: set augment.half_body=0 or data.cache=crops."
        )
    if augment.last is not None:
        raise PoseError(
            "data.cache=device augments in one way throughout: set augment.last=null or data.cache=crops."
        )
    if not augment.colour:
        return Jitter()
    change = augment.colour[0]
    if len(augment.colour) > 1 or not isinstance(change, A.RandomBrightnessContrast):
        raise PoseError(
            "data.cache=device knows one colour transform, albumentations.RandomBrightnessContrast: "
            "set augment.colour=[] or data.cache=crops."
        )
    return Jitter(tuple(change.brightness_limit), tuple(change.contrast_limit), float(change.p))


def crop_matrices(
    centre: Tensor, width: Tensor, size_wh: Sequence[int], rotation: Tensor, flip: Tensor
) -> Tensor:
    """`crop.crop_matrix` of many people (B, 2, 3), float64; `width` (B,) is the crop's in picture pixels."""
    zoom, angle = size_wh[0] / width, torch.deg2rad(rotation)
    across, down = zoom * angle.cos(), zoom * angle.sin()
    sign = torch.where(flip, -1.0, 1.0)
    rows = [torch.stack([across * sign, down], -1), torch.stack([-down * sign, across], -1)]
    linear = torch.stack(rows, dim=1)  # (B, 2, 2)
    offset = -(linear * centre[:, None, :]).sum(dim=-1)
    offset[:, 0] += size_wh[0] * 0.5  # numbers, not a tensor: making one would wait for the device
    offset[:, 1] += size_wh[1] * 0.5
    return torch.cat([linear, offset[..., None]], dim=-1)


def cut(
    pixels: Tensor,
    start: Tensor,
    origin: Tensor,
    extent: Tensor,
    matrix: Tensor,
    size_wh: Sequence[int],
) -> Tensor:
    """`crop.cut` of many people: uint8 crops (B, H, W, 3), black outside their regions.

    Args:
        pixels: (P, 3) uint8, all regions.
        start: (B,) each region's first pixel there.
        origin, extent: (B, 2) where it lay in its picture; its width and height.
        matrix: (B, 2, 3) from picture to crop.
        size_wh: of the crops.
    """
    back = _inverse(matrix, origin)
    across = _coordinates(back[:, 0], size_wh)  # (B, H, W) in 1/32 pixel
    down = _coordinates(back[:, 1], size_wh)
    left, top = across >> 5, down >> 5
    right_share, low_share = across & (WEIGHTS - 1), down & (WEIGHTS - 1)
    width, height = extent[:, 0, None, None], extent[:, 1, None, None]
    total = torch.zeros((*left.shape, 3), dtype=torch.int32, device=pixels.device)
    for below in (0, 1):
        y = top + below
        row_weight = low_share if below else WEIGHTS - low_share
        row_start, row_inside = start[:, None, None] + y * width, (y >= 0) & (y < height)
        for beside in (0, 1):
            x = left + beside
            weight = row_weight * (right_share if beside else WEIGHTS - right_share)
            inside = row_inside & (x >= 0) & (x < width)
            place = torch.where(inside, row_start + x, 0)
            weight = torch.where(inside, weight, 0).int()
            total += pixels[place] * weight[..., None]
    return ((total + WEIGHTS * WEIGHTS // 2) >> 10).byte()


def _inverse(matrix: Tensor, origin: Tensor) -> Tensor:
    """From crop to region (B, 2, 3); a mirrored one is moved by cv2's smallest step, as in `crop.cut`."""
    (a, b, x), (c, d, y) = (matrix[:, row].unbind(-1) for row in (0, 1))
    determinant = a * d - b * c
    ia, ib, ic, ide = (part / determinant for part in (d, -b, -c, a))
    step = torch.where(ia * ide - ib * ic < 0, 1 / STEPS, 0.0)
    ox = -(ia * x + ib * y) - origin[:, 0] - step
    oy = -(ic * x + ide * y) - origin[:, 1]
    return torch.stack([torch.stack([ia, ib, ox], -1), torch.stack([ic, ide, oy], -1)], dim=1)


def _coordinates(row: Tensor, size_wh: Sequence[int]) -> Tensor:
    """One coordinate of every crop pixel as cv2.warpAffine counts it: (B, H, W) int64 in 1/32 pixel."""
    x = torch.arange(size_wh[0], device=row.device, dtype=row.dtype)
    y = torch.arange(size_wh[1], device=row.device, dtype=row.dtype)
    along = (row[:, 0, None] * x * STEPS).round().long()  # (B, W)
    down = ((row[:, 1, None] * y + row[:, 2, None]) * STEPS).round().long()  # (B, H)
    half = STEPS // WEIGHTS // 2
    return (down[:, :, None] + along[:, None, :] + half) >> 5


def jittered(image: Tensor, jitter: Jitter, draws: Tensor) -> Tensor:
    """Brightness and contrast of crops (B, H, W, 3), by three draws a person."""
    (dark, bright), (flat, hard) = jitter.brightness, jitter.contrast
    drawn = draws[:, 0] < jitter.probability
    contrast = torch.where(drawn, 1 + flat + draws[:, 1] * (hard - flat), 1.0)
    brightness = torch.where(drawn, dark + draws[:, 2] * (bright - dark), 0.0)
    shape = (-1, 1, 1, 1)
    changed = image * contrast.float().view(shape) + (255 * brightness.float()).view(shape)
    return changed.clamp_(0, 255).round_().byte()
