"""The finder of people that ships: YOLOX-nano for people alone, trained further on pictures whose terms are stated.

A run goes on where it was stopped, step for step the same.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from featherpose.files import replacing, write_atomically
from featherpose.inference.detector import chosen, letterbox, size_of_area, yolox_boxes
from featherpose.models.peers.yolox import YOLOXNano, rows_of, with_chances
from featherpose.teaching.finder_loss import loss
from featherpose.teaching.finder_set import Pictures, held_out, pictures
from featherpose.teaching.sources import Places
from featherpose.zoo.yolox import read_yolox

SIDE = 320  # of the pictures that it is trained on
AREA = SIDE**2  # pixels of a picture that it sees later, whatever its form
ZOOM = (0.6, 1.4)  # of a picture of that area
STRETCH = 0.1  # of width against height, in logarithms
GREY = 114
LEAST_SEEN = 0.3  # of a box that is cut off: less of a person is left open
LEAST_SIDE = 6  # pixels; smaller people are left open
LOWEST, OVERLAP, MOST = 0.01, 0.65, 100  # for AP, also of boxes that nobody would show


@dataclass(frozen=True)
class Plan:
    """Of a run."""

    steps: int = 350
    batch: int = 16
    rate: float = 2e-4  # of a tensor's own size
    warm_up: int = 50
    average: float = 0.99  # of the weights that are kept
    every: int = 100  # steps between two scores on the dev split
    keep: int = 50  # steps between two states to go on from
    seed: int = 0

    def rate_at(self, step: int) -> float:
        if step < self.warm_up:
            return self.rate * (step + 1) / self.warm_up
        done = (step - self.warm_up) / max(self.steps - self.warm_up, 1)
        return self.rate * (0.02 + 0.98 * (1 + cos(pi * done)) / 2)


Sample = tuple[np.ndarray, Tensor, Tensor]  # BGR (3, H, W), people and unclear places as corners


def augmented(
    picture: np.ndarray,
    boxes: np.ndarray,
    person: np.ndarray,
    random: np.random.Generator,
) -> Sample:
    """The picture zoomed, stretched, moved, mirrored and coloured by chance, with its boxes."""
    size = np.array([picture.shape[1], picture.shape[0]])
    fit = np.sqrt(AREA / size.prod()) * np.exp(random.uniform(*np.log(ZOOM)))
    stretch = np.exp(random.uniform(-STRETCH, STRETCH) / 2)
    zoom = np.array([fit * stretch, fit / stretch])
    room = SIDE - zoom * size  # below 0: it is cut
    shift = random.uniform(0, 1, 2) * room
    low, high = boxes[:, :2] * zoom + shift, (boxes[:, :2] + boxes[:, 2:]) * zoom + shift
    matrix = np.array([[zoom[0], 0, shift[0]], [0, zoom[1], shift[1]]])
    matrix[:, 2] += (zoom - 1) / 2  # pixels are counted by their centres
    if random.random() < 0.5:
        matrix[0] = [-matrix[0, 0], 0, SIDE - 1 - matrix[0, 2]]
        low[:, 0], high[:, 0] = SIDE - high[:, 0], SIDE - low[:, 0]
    image = cv2.warpAffine(
        picture, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderValue=(GREY,) * 3
    )
    area = np.prod(high - low, axis=1)
    low, high = np.clip(low, 0, SIDE), np.clip(high, 0, SIDE)
    seen = np.prod(high - low, axis=1) / np.maximum(area, 1e-6)
    clear = person & (seen >= LEAST_SEEN) & ((high - low).max(axis=1) >= LEAST_SIDE)
    corners = torch.from_numpy(np.concatenate([low, high], axis=1)).float()
    left_open = ~clear & (seen > 0)
    return (
        np.ascontiguousarray(coloured(image, random)[..., ::-1].transpose(2, 0, 1)),
        corners[torch.from_numpy(clear)],
        corners[torch.from_numpy(left_open)],
    )


def coloured(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Lighter or darker, of other contrast and tint; one in twenty is grey."""
    if random.random() < 0.05:
        image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    gain = random.uniform(0.7, 1.3) * random.uniform(0.9, 1.1, 3)
    bend = np.exp(random.uniform(-0.3, 0.3))
    levels = 255 * (np.arange(256)[:, None] / 255) ** bend * gain + random.uniform(-20, 20)
    return cv2.LUT(image, np.clip(levels, 0, 255).astype(np.uint8)[None])


def batch_of(data: Pictures, plan: Plan, step: int) -> list[Sample]:
    """The same for the same step, in whatever order and process it is made."""
    random = np.random.default_rng((plan.seed, step))
    per_epoch = len(data) // plan.batch
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng((plan.seed, 1 << 30, epoch)).permutation(len(data))
    return [
        augmented(data.picture(at), data.boxes[at], data.person[at], random)
        for at in order[place * plan.batch : (place + 1) * plan.batch]
    ]


def train(
    out: Path, places: Places, plan: Plan, say: Callable[[str], None] = print
) -> dict[str, float]:
    """Writes OUT/finder.onnx and about.json; gives the scores on the held-out pictures, which choose nothing."""
    out.mkdir(parents=True, exist_ok=True)
    data, dev = pictures(places, say)
    start = YOLOXNano()
    start.load_state_dict(read_yolox(places.data / "detectors" / "yolox_nano.onnx", start))
    trained = fitted(start, data, dev, out, plan, say)
    from featherpose.export.finder import write

    write(trained, out / "finder.onnx", AREA, [seen_as(dev.picture(at))[0] for at in range(8)])
    held = held_out(places)
    scores = {
        "start": average_precision(held, [found(start.eval(), p) for p in all_of(held)])["AP"],
        **average_precision(held, [found(trained, p) for p in all_of(held)]),
    }
    write_atomically(out / "about.json", json.dumps(scores, indent=1) + "\n")
    return scores


def fitted(
    network: YOLOXNano,
    data: Pictures,
    dev: Pictures,
    out: Path,
    plan: Plan,
    say: Callable[[str], None],
) -> nn.Module:
    """The average of the last weights. The dev split tells how it goes and chooses nothing."""
    network = copy.deepcopy(
        network
    ).eval()  # its norms are folded: the batch's statistics would make another network
    average = copy.deepcopy(network)
    for part in (network.stem, network.stage2, network.stage3, network.stage4):  # half of the time
        part.requires_grad_(False)
    # norms are folded, so that tensors differ in size a thousandfold: each moves by a share of its own
    trained = [each for each in network.parameters() if each.requires_grad]
    groups = [
        {"params": [each], "share": float(each.detach().square().mean().sqrt().clamp(min=1e-3))}
        for each in trained
    ]
    optimizer = torch.optim.AdamW(groups, plan.rate, weight_decay=0)
    file, first = out / "training.pt", 0
    if file.is_file():
        kept = torch.load(file, weights_only=True)
        network.load_state_dict(kept["network"])
        average.load_state_dict(kept["average"])
        optimizer.load_state_dict(kept["optimizer"])
        first = kept["step"]
    else:
        say(f"start: AP {dev_score(average, dev):.4f} on the dev split")
    began, losses = time.perf_counter(), []
    for step in range(first, plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate_at(step) * group["share"]
        images, people, unclear = zip(*batch_of(data, plan, step), strict=True)
        pictures = torch.from_numpy(np.stack(images)).float()
        maps = network(pictures.contiguous(memory_format=torch.channels_last))
        value = loss(maps, people, unclear)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(trained, 20.0)
        optimizer.step()
        losses.append(value.item())
        follow(average, network, min(plan.average, (1 + step) / (10 + step)))
        last = step + 1 == plan.steps
        if (step + 1) % plan.every == 0 or last:
            score = dev_score(average, dev)
            pace = (time.perf_counter() - began) / (step + 1 - first)
            say(
                f"step {step + 1}: loss {np.mean(losses):.3f}, dev AP {score:.4f}, {pace:.2f} s a step"
            )
            losses = []
        if (step + 1) % plan.keep == 0 or last:
            with replacing(file) as beside:
                torch.save(
                    {
                        "network": network.state_dict(),
                        "average": average.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "step": step + 1,
                    },
                    beside,
                )
    return average


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, keep: float) -> None:
    for mean, now in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(now, 1 - keep)


def dev_score(network: nn.Module, dev: Pictures) -> float:
    return average_precision(dev, [found(network, picture) for picture in all_of(dev)])["AP"]


def all_of(data: Pictures):
    return (data.picture(at) for at in range(len(data)))


def seen_as(picture: np.ndarray) -> tuple[np.ndarray, float]:
    """BGR (3, H, W) as the finder takes it, and the zoom."""
    canvas, zoom, _ = letterbox(picture, size_of_area(picture.shape[:2], AREA), middle=False)
    return np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1)), zoom


@torch.no_grad()
def found(network: nn.Module, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and scores of an RGB picture."""
    image, zoom = seen_as(picture)
    rows = rows_of(with_chances(network(torch.from_numpy(image[None]).float())))
    corners, scores = yolox_boxes([rows.numpy()], image.shape[1:])
    return chosen(corners / zoom, scores, picture.shape[:2], LOWEST, OVERLAP, MOST)


def average_precision(
    truth: Pictures, boxes: Sequence[tuple[np.ndarray, np.ndarray]]
) -> dict[str, float]:
    """pycocotools' numbers of boxes."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    known, given = COCO(), []
    people = [(at, box) for at, each in enumerate(truth.boxes) for box in each]
    known.dataset = {
        "images": [{"id": at} for at in range(len(truth))],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {
                "id": number,
                "image_id": at,
                "category_id": 1,
                "iscrowd": 0,
                "bbox": box.tolist(),
                "area": float(box[2] * box[3]),
            }
            for number, (at, box) in enumerate(people, start=1)
        ],
    }
    for at, (found_boxes, scores) in enumerate(boxes):
        for box, score in zip(found_boxes.tolist(), scores.tolist(), strict=True):
            given.append({"image_id": at, "category_id": 1, "bbox": box, "score": score})
    if not given:
        return dict.fromkeys(("AP", "AP50", "AP75"), 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        known.createIndex()
        judge = COCOeval(known, known.loadRes(given), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    names = ("AP", "AP50", "AP75", "AP(S)", "AP(M)", "AP(L)")
    return {name: float(value) for name, value in zip(names, judge.stats[:6], strict=True)}
