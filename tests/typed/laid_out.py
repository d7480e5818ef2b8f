"""What people have beside the program when they follow its documentation: data/, pictures, weights, predictions."""

from __future__ import annotations

import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import scipy.io
import torch
import yaml

from featherpose.export.web import RUNTIME
from featherpose.inference.description import Description
from featherpose.models.hourglass import Hourglass
from featherpose.models.peers.lite_hrnet import NaiveLiteHRNet
from featherpose.protocol import Protocol
from featherpose.skeletons import COCO
from featherpose.synthetic import formats

from ..data.test_packs import painted_set
from ..inference import written_by_hand
from ..inference.test_predict import constant_detector, yolox_rows
from ..small_sets import coco_json, smooth_picture, write_picture
from ..zoo.test_openvino_weights import write_tinypose

PEOPLE = 40  # painted ones of each set
CUSTOM = (
    "head",
    *(f"{side}_{joint}" for joint in ("shoulder", "hand", "hip") for side in ("left", "right")),
)


def lay_out(folder: Path) -> None:
    for kind in ("mpii", "coco"):
        formats.write(kind, folder / "data" / kind, PEOPLE)
    leeds(folder / "data" / "lspet", "im{:05d}.jpg", 4500)  # its test pictures end there
    (folder / "data" / "people17").mkdir()
    painted_set(folder / "data" / "people17", people=48)
    own_people(folder / "data" / "custom")
    shutil.make_archive(
        str(folder / "labels"), "zip", folder / "data" / "custom"
    )  # a tool's export
    for hand in ("anna", "ben"):  # who have labelled the same pictures, the same way
        shutil.copyfile(folder / "data/custom/annotations/train.json", folder / f"{hand}.json")
    shutil.copyfile(folder / "conf/data/custom.yaml", folder / "conf/data/mine.yaml")
    pictures(folder)
    test_dev(folder)
    weights(folder)
    predictions(folder)


def leeds(folder: Path, name: str, rows: int) -> None:
    """LSP or LSPET with as many rows and pictures as its splits need: the same few people again and again."""
    formats.write(folder.name, folder, PEOPLE)
    joints = scipy.io.loadmat(folder / "joints.mat")["joints"]
    joints = np.take(joints, np.arange(rows) % PEOPLE, axis=2)
    scipy.io.savemat(folder / "joints.mat", {"joints": joints})
    pictures = folder / "images"
    for number in range(PEOPLE, rows):
        os.link(pictures / name.format(number % PEOPLE + 1), pictures / name.format(number + 1))


def own_people(data: Path) -> None:
    """Seven joints of some people, as conf/data/custom.yaml describes them."""
    (data / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        content = coco_json(12, len(CUSTOM), CUSTOM)
        for number, picture in enumerate(content["images"]):
            picture["file_name"] = f"{split}_{picture['file_name']}"
            write_picture(data / "images" / picture["file_name"], number + 100 * (split == "val"))
        (data / "annotations" / f"{split}.json").write_text(json.dumps(content))


def pictures(folder: Path) -> None:
    painted = sorted((folder / "data" / "coco" / "val2017").glob("*.jpg"))
    shutil.copyfile(painted[0], folder / "picture.jpg")
    for name in ("photos", "holiday"):
        (folder / name).mkdir()
        for path in painted[:3]:
            shutil.copyfile(path, folder / name / path.name)
    boxes = [{"file_name": path.name, "bbox": [40, 40, 120, 160]} for path in painted[:3]]
    (folder / "people.json").write_text(json.dumps(boxes))
    video = cv2.VideoWriter(
        str(folder / "walk.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (160, 120)
    )
    for number in range(12):
        video.write(smooth_picture(number))
    video.release()
    constant_detector(folder / "yolox_tiny.onnx", [yolox_rows()])
    if find_spec("ai_edge_litert"):
        tflite, averages = written_by_hand.write, written_by_hand.Averages
        tflite(folder / "lapx.tflite", averages(17), (64, 64))
        tflite(folder / "other.tflite", averages(16), (64, 64))
        (folder / "other.json").write_text('{"skeleton": "mpii", "mean": [0.5, 0.5, 0.5]}')
    if find_spec("ncnn"):
        about = Description(COCO, (64, 64), 4, Protocol())
        written_by_hand.write_ncnn(folder / "lapx.ncnn.param", written_by_hand.Averages(17), about)
    (folder / "ort").mkdir()
    for name in RUNTIME:
        (folder / "ort" / name).touch()


def test_dev(folder: Path) -> None:
    """Some of COCO's pictures as those of test-dev, and the people that a detector found there."""
    coco = folder / "data" / "coco"
    listed = json.loads((coco / "annotations" / "person_keypoints_val2017.json").read_text())
    pictures = listed["images"][:3]
    (coco / "test2017").mkdir()
    for picture in pictures:
        name = picture["file_name"]
        shutil.copyfile(coco / "val2017" / name, coco / "test2017" / name)
    content = {"images": pictures, "categories": listed["categories"]}
    (coco / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(content))
    found = [
        {"image_id": picture["id"], "category_id": 1, "bbox": [40, 40, 120, 160], "score": 0.9}
        for picture in pictures
    ]
    (folder / "FILE.json").write_text(json.dumps(found))


def weights(folder: Path) -> None:
    """Random ones under the names that published ones have."""
    torch.manual_seed(0)
    lapx = yaml.safe_load((folder / "conf" / "model" / "lapx.yaml").read_text(encoding="utf-8"))
    settings = {key: lapx[key] for key in lapx if key not in ("defaults", "_target_", "joints")}
    coco = {"state_dict": Hourglass(17, **settings).state_dict()}
    for name in ("lapx.pth", "lapx_coco.pth", "LAPX_COCO_256_192.tar"):
        torch.save(coco, folder / name)
    torch.save({"state_dict": Hourglass(16, **settings).state_dict()}, folder / "lapx_mpii.pth")
    write_tinypose(NaiveLiteHRNet(17).eval(), folder / "tinypose256.xml")


def predictions(folder: Path) -> None:
    """Somebody's keypoints of MPII's validation people: the annotated ones, a little aside."""
    truth = scipy.io.loadmat(folder / "data" / "mpii" / "annot" / "gt_valid.mat")["pos_gt_src"]
    found = truth.transpose(2, 0, 1) + np.float64(3)
    for name in ("pred.mat", "bearpaw-hg_s2_b1.mat"):
        scipy.io.savemat(folder / name, {"preds": found})
