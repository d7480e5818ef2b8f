"""What is drawn, and that it depends on (seed, epoch, index) alone."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from featherpose import crop
from featherpose.data.augment import Augment, half_bodies, halves
from featherpose.data.dataset import CropDataset
from featherpose.data.sampler import PersonSampler
from featherpose.errors import PoseError
from featherpose.person import People, Person
from featherpose.skeletons import COCO

PICTURE = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)


def load(_: Person) -> np.ndarray:
    return PICTURE


def people(count: int = 12) -> People:
    mix = np.random.default_rng(1)
    persons = []
    for i in range(count):
        joints = mix.uniform((60, 40), (260, 200), (17, 2))
        visible = np.full(17, 2, np.uint8)
        visible[3] = 0
        joints[3] = np.nan  # what is not annotated may hold anything
        centre, scale = crop.centre_and_scale((60, 40, 200, 160))
        persons.append(
            Person("picture", joints, visible, centre, scale, np.array([60, 40, 200, 160.0]), i, i)
        )
    return People(persons)


def dataset(augment: Augment | None, seed: int = 0) -> CropDataset:
    return CropDataset(people(), load, COCO, (96, 72), augment, seed)


FULL = {"scale": (0.7, 1.3), "rotation": 40.0, "flip": 0.5, "half_body": 0.3}


def epoch_of(data: CropDataset, epoch: int, workers: int) -> dict[int, dict[str, torch.Tensor]]:
    sampler = PersonSampler(data, seed=data.seed)
    sampler.set_epoch(epoch)
    samples = {}
    for batch in DataLoader(data, 5, sampler=sampler, num_workers=workers):
        for i, index in enumerate(batch["index"].tolist()):
            samples[index] = {key: value[i] for key, value in batch.items()}
    return samples


def same(
    a: dict[int, dict[str, torch.Tensor]], b: dict[int, dict[str, torch.Tensor]]
) -> list[bool]:
    assert a.keys() == b.keys()
    return [all(torch.equal(a[i][key], b[i][key]) for key in a[i]) for i in sorted(a)]


@pytest.mark.parametrize("workers", [1, 4])
def test_number_of_workers_changes_nothing(workers):
    data = dataset(Augment(**FULL))
    assert all(same(epoch_of(data, 3, 0), epoch_of(data, 3, workers)))


def test_each_epoch_each_person_and_each_seed_draw_differently():
    data = dataset(Augment(**FULL))
    first, second = epoch_of(data, 0, 2), epoch_of(data, 1, 2)
    assert not any(same(first, second))
    assert not any(same(first, epoch_of(dataset(Augment(**FULL), seed=1), 0, 0)))
    matrices = torch.stack([sample["matrix"][:, :2] for sample in first.values()])
    assert len(torch.unique(matrices, dim=0)) == len(first)  # also where two workers made them


def test_persistent_workers_draw_anew_each_epoch():
    data = dataset(Augment(**FULL))
    sampler = PersonSampler(data, seed=0)
    loader = DataLoader(data, 5, sampler=sampler, num_workers=2, persistent_workers=True)
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        got = {
            i: m
            for batch in loader
            for i, m in zip(batch["index"].tolist(), batch["matrix"], strict=True)
        }
        for index, expected in epoch_of(data, epoch, 0).items():
            assert torch.equal(got[index], expected["matrix"])


def test_draws_fill_their_ranges_and_stay_in_them():
    augment = Augment(scale=(0.65, 1.35), rotation=45.0, flip=0.5)
    data = dataset(augment)
    zooms, angles, flips = [], [], []
    for epoch in range(400):
        data[(epoch, 0)]
        drawn = augment.warp.params
        zooms.append(drawn["scale"][0] / data.people.persons[0].scale[0])
        angles.append(drawn["rotation"])
        flips.append(drawn["flip"])
    assert min(zooms) >= 0.65
    assert max(zooms) <= 1.35
    assert min(zooms) < 0.68
    assert max(zooms) > 1.32
    assert -45 <= min(angles) < -42
    assert 42 < max(angles) <= 45
    assert 0.4 < np.mean(flips) < 0.6
    assert abs(np.corrcoef(zooms, angles)[0, 1]) < 0.15


def test_flip_swaps_left_and_right():
    data = dataset(Augment(flip=1.0))
    plain, flipped = dataset(None)[0], data[(0, 0)]
    order = list(COCO.flip_order)
    seen = flipped["visible"] > 0
    assert torch.equal(flipped["visible"], plain["visible"][order])
    expected = plain["joints"][order].clone()
    expected[:, 0] = 72 - expected[:, 0]
    torch.testing.assert_close(flipped["joints"][seen], expected[seen])
    assert COCO.joints[order[COCO.index("left_wrist")]] == "right_wrist"


def test_joints_that_leave_the_crop_stay_and_stay_annotated():
    data = dataset(Augment(scale=(0.3, 0.3)))
    sample, plain = data[(0, 0)], dataset(None)[0]
    assert sample["visible"].sum() == plain["visible"].sum()
    size = torch.tensor(data.size_wh)
    outside = ((sample["joints"] < -0.5) | (sample["joints"] >= size - 0.5)).any(dim=-1)
    assert outside.any()
    person = data.people.persons[0]
    expected = crop.apply(sample["matrix"].numpy(), person.joints)
    known = person.visible > 0
    if np.linalg.det(sample["matrix"].numpy()[:, :2]) < 0:
        order = list(COCO.flip_order)
        expected, known = expected[order], known[order]
    np.testing.assert_allclose(sample["joints"].numpy()[known], expected[known], atol=1e-3)
    assert not torch.isnan(sample["joints"]).any()


def test_a_skeleton_that_names_no_upper_body_is_always_shown_whole():
    own, person = replace(COCO, upper=()), people(1).persons[0]
    crops = [
        Augment(flip=0.0, half_body=share)(PICTURE, person, own, (72, 96), (3, 4))[1]
        for share in (0.0, 1.0)
    ]
    np.testing.assert_array_equal(*crops)


def test_halves_of_many_are_those_of_each():
    persons = people(8).persons
    visible = persons.visible.copy()
    visible[3] = 0
    visible[4, 2:] = 0  # two joints tell no half
    parts = half_bodies(persons.joints, visible, COCO, (72, 96))
    for row, (upper, lower) in enumerate(
        zip(*[zip(*part, strict=True) for part in parts], strict=True)
    ):
        alone = halves(replace(persons[row], visible=visible[row]), COCO, (72, 96))
        for (centre, scale), one in zip((upper, lower), alone, strict=True):
            assert (one is None) == bool(np.isnan(scale).any())
            if one is not None:
                np.testing.assert_array_equal([centre, scale], one)


def test_half_body_shows_one_half():
    augment = Augment(flip=0.0, half_body=1.0)
    data = dataset(augment)
    person = data.people.persons[0]
    upper, lower = halves(person, COCO, data.size_wh)
    assert upper is not None
    assert lower is not None
    centres = []
    for epoch in range(20):
        data[(epoch, 0)]
        centres.append(tuple(augment.warp.params["centre"]))
    assert set(centres) == {tuple(upper[0]), tuple(lower[0])}
    shown = person.joints[[i for i in COCO.upper if person.visible[i]]]
    np.testing.assert_allclose(upper[0], shown.mean(axis=0))
    side = crop.fit_aspect(np.ptp(shown, axis=0), (72, 96)) * 1.5 / 200
    np.testing.assert_allclose(upper[1], side)


def test_few_joints_are_never_halved():
    augment = Augment(flip=0.0, half_body=1.0, half_body_joints=16)
    data = dataset(augment)
    data[(0, 0)]
    np.testing.assert_array_equal(augment.warp.params["centre"], data.people.persons[0].centre)


def test_colour_noise_changes_colours_only_and_by_its_own_draws():
    import albumentations as A

    def coloured() -> Augment:
        return Augment(
            **FULL,
            colour=[
                A.ColorJitter(
                    brightness=(0.5, 1.5), contrast=(1, 1), saturation=(1, 1), hue=(0, 0), p=1
                )
            ],
        )

    plain, noisy = dataset(Augment(**FULL)), dataset(coloured())
    ratios, zooms = [], []
    for index in range(12):
        a, b = plain[(0, index)], noisy[(0, index)]
        assert torch.equal(a["matrix"], b["matrix"])
        assert torch.equal(a["joints"], b["joints"])
        ratios.append(float(b["image"].float().mean() / a["image"].float().mean()))
        zooms.append(float(np.linalg.det(a["matrix"][:, :2])))
    assert np.std(ratios) > 0.05
    assert torch.equal(noisy[(4, 2)]["image"], dataset(coloured())[(4, 2)]["image"])


def test_sample_is_what_the_trainer_expects():
    sample = dataset(None)[2]
    assert sample["image"].dtype == torch.uint8
    assert sample["image"].shape == (3, 96, 72)
    assert sample["image"].is_contiguous()
    assert sample["joints"].dtype == sample["visible"].dtype == torch.float32
    assert sample["matrix"].dtype == torch.float64
    person = people().persons[2]
    expected = cv2.warpAffine(
        PICTURE, crop.crop_matrix(person.centre, person.scale, (72, 96)), (72, 96)
    )
    assert np.array_equal(sample["image"].permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"scale": 1.0}, r"augment\.scale is 1; it has to be a list of 2 numbers"),
        ({"scale": (0, 1)}, r"augment\.scale\[0\] is 0"),
        ({"scale": (1.3, 0.7)}, "the smaller number comes first"),
        ({"rotation": -5}, r"augment\.rotation is -5; it has to be a number from 0 to 180"),
        ({"flip": 2}, r"augment\.flip is 2; it has to be a number from 0 to 1"),
        ({"half_body": "often"}, r"augment\.half_body is often"),
        ({"half_body_joints": 1.5}, r"augment\.half_body_joints is 1\.5"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_sentence(wrong: dict, sentence: str) -> None:
    with pytest.raises(PoseError, match=sentence):
        Augment(**wrong)


FIRST_IMPORT = """
import builtins, os
plain = builtins.__import__
def watching(name, *rest, **more):
    if name == "albumentations":
        print(os.environ.get("NO_ALBUMENTATIONS_UPDATE"))
        raise SystemExit
    return plain(name, *rest, **more)
builtins.__import__ = watching
import featherpose.data.augment
"""


def test_albumentations_never_asks_the_network_for_a_newer_version():
    """What it looks at when it is imported, in a process that nobody has prepared."""
    bare = {k: v for k, v in os.environ.items() if k != "NO_ALBUMENTATIONS_UPDATE"}
    command = [sys.executable, "-c", FIRST_IMPORT]
    done = subprocess.run(command, env=bare, capture_output=True, text=True, timeout=100)
    assert done.stdout == "1\n", done.stderr


def test_another_augmentation_takes_over_at_its_epoch() -> None:
    """As RTMPose's second stage: the dataset asks by the epoch that travels with the key."""
    wild, calm = Augment(scale=(2.0, 2.0), flip=0), Augment(scale=(0.5, 0.5), flip=0, half_body=0.2)
    both = Augment(scale=(2.0, 2.0), flip=0, last=calm, last_from=3)
    for epoch, one in ((2, wild), (3, calm)):
        assert both.at(epoch).warp.scale == one.warp.scale
        first, second = dataset(both)[epoch, 0], dataset(one)[epoch, 0]
        assert torch.equal(first["image"], second["image"])
    # the cache of regions has to hold what either may show
    assert both.reach == 2.0
    assert both.halves and calm.halves and not wild.halves
