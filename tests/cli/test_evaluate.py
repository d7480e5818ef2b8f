"""python src/evaluate.py from every source of predictions, on tiny datasets in the official formats."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import onnxruntime
import pytest
import scipy.io
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch.utils.data import default_collate

from featherpose import image, intervals
from featherpose.cli import evaluate
from featherpose.data.dataset import CropDataset
from featherpose.data.readers import mpii
from featherpose.errors import PoseError, UsageError
from featherpose.evaluation import by_network
from featherpose.evaluation.predictions import Predictions
from featherpose.inference.backends import FileBackend
from featherpose.inference.description import Description
from featherpose.inference.estimator import Estimator
from featherpose.metrics.pck import distances
from featherpose.pixels import normalise
from featherpose.protocol import PAPER_TTA, Protocol
from featherpose.runs.folder import Run
from featherpose.skeletons import COCO, MPII
from featherpose.synthetic.formats import write
from featherpose.targets import build
from featherpose.zoo.checkpoint import KEY, PREFIX, describe
from featherpose.zoo.shipped import file_of_name

SMALL = ("batch_size=8", "workers=0", "worst=4")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """COCO and MPII in their official formats, 40 people each."""
    root = tmp_path_factory.mktemp("sets")
    for kind in ("coco", "mpii"):
        write(kind, root / kind, 40)
    return root


@pytest.fixture
def run(root, tmp_path):
    """Evaluates with these overrides; gives the score and the folder that was written."""

    def run(*overrides, out="out"):
        with initialize_config_dir(str(root / "conf"), version_base="1.3"):
            cfg = compose(
                "evaluate", [*SMALL, f"paths.root={tmp_path}", f"out={tmp_path / out}", *overrides]
            )
        return evaluate.main(cfg), tmp_path / out

    return run


def on(sets, kind):
    extra = ["+data.read.published=false"] if kind == "mpii" else []
    return [f"data={kind}", f"data.root={sets / kind}", "data.input_size=[64,64]", *extra]


@pytest.fixture
def nearly_right(monkeypatch):
    """Networks whose first output is far off and whose last is near the annotated joints."""

    def predict(estimator, batches, quiet=False):
        persons, rng = batches.dataset.people.persons, np.random.default_rng(0)
        joints = np.array([p.joints for p in persons])
        size = np.array([p.scale.max() * 200 for p in persons])[:, None, None]
        stages = [joints + rng.normal(0, spread, joints.shape) * size for spread in (0.08, 0.02)]
        confidence = np.repeat(rng.uniform(0.3, 1, (1, *joints.shape[:2])), 2, axis=0)
        return Predictions(np.arange(len(persons)), np.array(stages).round(3), confidence)

    monkeypatch.setattr(by_network, "predict", predict)


@pytest.fixture(scope="module")
def checkpoints(root, sets, tmp_path_factory):
    """Untrained little networks of each dataset, as checkpoints and as bare weights."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for kind in ("coco", "mpii"):
        with initialize_config_dir(str(root / "conf"), version_base="1.3"):
            overrides = [
                *on(sets, kind),
                "model.channels=16",
                "model.stages=2",
                "paths.root=/nowhere",
            ]
            cfg = compose("train", overrides)
        groups = ("data", "model", "protocol", "loss")
        wanted = {name: OmegaConf.to_container(cfg[name], resolve=True) for name in groups}
        torch.manual_seed(0)
        weights = build(wanted["model"]).state_dict()
        state = {PREFIX + name: value for name, value in weights.items()}
        torch.save({"state_dict": state, KEY: describe(wanted)}, folder / f"{kind}.ckpt")
        torch.save(weights, folder / f"{kind}.pth")
    return folder


def record(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_a_coco_checkpoint_writes_results_that_pycocotools_scores_alike(
    run, sets, checkpoints, nearly_right
):
    score, folder = run(f"checkpoint={checkpoints / 'coco.ckpt'}", "oracle=true")
    found = record(folder)
    assert 10 < score == found["scores"]["AP"] < 100
    for name, value in found["pycocotools"].items():
        assert found["scores"][name] == (None if value is None else pytest.approx(value, abs=1e-9))
    assert found["stages"][0]["AP"] < found["stages"][1]["AP"] == score
    again, _ = run(
        *on(sets, "coco"), f"predictions={folder / 'keypoints_results.json'}", out="again"
    )
    assert again == pytest.approx(score, abs=1e-9)
    assert found["protocol"]["name"] == "paper_no_tta"  # by which it trained
    assert found["persons"] == found["expected"] > 0
    (checksum,) = found["annotations"].values()
    assert len(checksum) == 64


def test_an_mpii_checkpoint_writes_what_the_official_script_takes(
    run, sets, checkpoints, nearly_right
):
    score, folder = run(f"checkpoint={checkpoints / 'mpii.ckpt'}")
    predictions = scipy.io.loadmat(folder / "pred.mat")["preds"]
    persons = mpii.read(sets / "mpii", "val", published=False).persons
    assert predictions.shape == (len(persons), 16, 2)
    truth = np.array([p.joints for p in persons])
    error = (
        np.linalg.norm(predictions - 1 - truth, axis=2)
        / np.array([p.head_size for p in persons])[:, None]
    )
    counted = np.array([p.visible > 0 for p in persons]) & ~np.isin(np.arange(16), [6, 7])
    assert score == pytest.approx(100 * (error <= 0.5)[counted].mean(), abs=1e-9)
    again, _ = run(*on(sets, "mpii"), f"predictions={folder / 'pred.mat'}", out="again")
    assert again == pytest.approx(score, abs=1e-9)
    stages, _ = run(
        *on(sets, "mpii"), f"predictions={folder / 'predictions' / 'val.npz'}", out="stages"
    )
    assert stages == score
    assert len(record(folder.parent / "stages")["stages"]) == 2
    for name in ("joints.png", "worst.png"):
        picture = cv2.imread(str(folder / name))
        assert picture.std() > 20


def test_the_mean_that_the_protocol_names_is_the_score(run, sets, checkpoints, nearly_right):
    weighted, _ = run(f"checkpoint={checkpoints / 'mpii.ckpt'}")
    unweighted, folder = run(
        f"checkpoint={checkpoints / 'mpii.ckpt'}", "protocol.mean=unweighted", out="other"
    )
    scores = record(folder)["scores"]
    assert unweighted == scores["PCKh@0.5 unweighted"] != scores["PCKh@0.5 weighted"] == weighted


def test_a_run_s_own_protocol_scores_it_but_for_what_is_asked_for(
    run, sets, checkpoints, nearly_right, tmp_path, capsys
):
    saved = torch.load(checkpoints / "mpii.ckpt")
    saved[KEY]["protocol"] = {
        "name": "repose",
        "flip": False,
        "decoder": "dark",
        "mean": "unweighted",
    }
    torch.save(saved, tmp_path / "own.ckpt")

    def done(*overrides):
        _, folder = run(f"checkpoint={tmp_path / 'own.ckpt'}", "worst=0", *overrides)
        return Protocol(**record(folder)["protocol"])

    own = done()
    assert own == Protocol("repose", shift=False, decoder="dark", mean="unweighted")
    assert "asked for" not in capsys.readouterr().out
    assert done("protocol.flip=true") == replace(own, flip=True, shift=True)
    assert "own protocol is repose; asked for: flip True" in capsys.readouterr().out
    assert done("protocol=paper_tta") == Protocol("paper_tta", flip=True, shift=True)


def test_weights_without_a_protocol_take_the_papers(root):
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        plain, repose = compose("evaluate"), compose("evaluate", ["model=repose"])
        published = OmegaConf.to_container(compose("evaluate", ["protocol=paper_tta"]).protocol)
    assert evaluate.protocol_of(plain, PAPER_TTA) == Protocol(**published)
    assert evaluate.protocol_of(repose, PAPER_TTA).mean == "unweighted"


def test_checkpoint_and_weights_are_the_same_network(run, sets, checkpoints):
    _, first = run(f"checkpoint={checkpoints / 'mpii.ckpt'}", "protocol=paper_no_tta")
    model = ["model=lapx", "model.channels=16", "model.stages=2"]
    bare = [*on(sets, "mpii"), *model, f"weights={checkpoints / 'mpii.pth'}"]
    _, second = run(*bare, "protocol=paper_no_tta", out="weights")
    one, other = (np.load(folder / "predictions" / "val.npz") for folder in (first, second))
    np.testing.assert_array_equal(one["keypoints"], other["keypoints"])
    assert one["keypoints"].shape[:2] == (2, 8)
    assert np.ptp(one["keypoints"]) > 10


class Blurred(torch.nn.Module):
    """Sixteen heatmaps out of a picture's brightness, a quarter of its size."""

    def forward(self, images):
        grey = torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True), 4)
        return torch.cat([grey.roll(k, dims=3) + 0.01 * k for k in range(16)], dim=1)


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "network.onnx"
    example = torch.zeros(3, 3, 64, 64)
    torch.onnx.export(
        Blurred().eval(), (example,), str(path), dynamo=True, external_data=False, verbose=False
    )
    return path


def test_an_onnx_file_of_a_fixed_batch_is_scored_like_its_network(run, sets, onnx_file):
    assert onnxruntime.InferenceSession(str(onnx_file)).get_inputs()[0].shape[0] == 3
    run(*on(sets, "mpii"), f"onnx={onnx_file}", "protocol=paper_tta")
    protocol = Protocol(flip=True)
    estimator = Estimator(FileBackend(onnx_file, skeleton=MPII), protocol)
    crops = torch.randint(0, 256, (5, 3, 64, 64), dtype=torch.uint8)
    (heatmaps,) = estimator.outputs(crops.numpy())
    plain, mirrored = (Blurred()(normalise(each)) for each in (crops, crops.flip(3)))
    back = mirrored.flip(3)[:, list(MPII.flip_order)]
    back[..., 1:] = back[..., :-1].clone()
    torch.testing.assert_close(torch.from_numpy(heatmaps.values), (plain + back) / 2)


def test_every_file_that_can_be_predicted_with_can_be_scored(run, sets, onnx_file, tmp_path):
    openvino = pytest.importorskip("openvino")
    told = Description(MPII, (64, 64), 4, Protocol())
    model = openvino.convert_model(str(onnx_file))
    model.set_rt_info(told.to_json(), ["featherpose"])
    openvino.save_model(model, str(tmp_path / "network.xml"), compress_to_fp16=False)
    files = {
        "onnx": [f"onnx={onnx_file}"],
        "openvino": [f"onnx={onnx_file}", "runtime=openvino"],
        "xml": [f"onnx={tmp_path / 'network.xml'}"],
    }
    keypoints = []
    for name, source in files.items():
        _, folder = run(*on(sets, "mpii"), *source, "protocol=paper_tta", out=name)
        keypoints.append(np.load(folder / "predictions" / "val.npz")["keypoints"])
    assert np.ptp(keypoints[0]) > 10
    for other in keypoints[1:]:
        np.testing.assert_allclose(other, keypoints[0], atol=0.01)


@pytest.fixture
def as_the_box_lies(monkeypatch):
    """A network that finds one and the same pose in every box: who is shifted is found shifted."""

    def predict(estimator, batches, quiet=False):
        boxes = np.array([p.box for p in batches.dataset.people.persons])
        pose = np.random.default_rng(5).random((17, 2))
        keypoints = boxes[:, None, :2] + pose * boxes[:, None, 2:]
        return Predictions(np.arange(len(boxes)), keypoints[None], np.ones((1, len(boxes), 17)))

    monkeypatch.setattr(by_network, "predict", predict)


def test_detected_boxes_take_the_place_of_the_annotated(
    run, sets, checkpoints, tmp_path, as_the_box_lies
):
    annotations = json.loads(
        (sets / "coco" / "annotations" / "person_keypoints_val2017.json").read_text()
    )
    boxes = [
        {"image_id": p["image_id"], "category_id": 1, "bbox": p["bbox"], "score": 0.5}
        for p in annotations["annotations"]
        if p["num_keypoints"]
    ]
    again = []
    for n, share in enumerate((0.02, 0.02, 0.02, 0.5, 0.5)):
        x, y, width, height = boxes[n]["bbox"]
        shift = share * (width * height) ** 0.5
        again.append({**boxes[n], "bbox": [x + shift, y, width, height], "score": 0.4})
    (tmp_path / "boxes.json").write_text(json.dumps(boxes + again))
    common = [
        *on(sets, "coco"),
        f"checkpoint={checkpoints / 'coco.ckpt'}",
        "protocol.boxes=detections",
    ]
    with pytest.raises(PoseError, match=r"data\.detections=FILE"):
        run(*common)
    _, folder = run(*common, f"data.detections={tmp_path / 'boxes.json'}")
    found = record(folder)
    assert found["persons"] == len(boxes) + 5
    results = json.loads((folder / "keypoints_results.json").read_text())
    # a fiftieth of a person's size is an OKS of 0.98: found twice; half of it is somebody else
    assert len(results) == len(boxes) + 2
    assert {"image_id", "category_id", "keypoints", "score"} == set(results[0])
    assert len(found["annotations"]) == 2


def test_other_protocols_are_never_compared_silently(run, sets, checkpoints, nearly_right, capsys):
    run(f"checkpoint={checkpoints / 'mpii.ckpt'}", out="first")
    _, second = run(f"checkpoint={checkpoints / 'mpii.ckpt'}", "protocol=raw", out="second")
    capsys.readouterr()
    run(
        f"checkpoint={checkpoints / 'mpii.ckpt'}",
        f"compare=[{second.parent / 'first'}]",
        out="same",
    )
    same = capsys.readouterr().out
    assert "not measured alike" not in same
    assert "of [1] minus this" in same and "+0.00 [+0.00, +0.00] noise" in same
    tta = (f"checkpoint={checkpoints / 'mpii.ckpt'}", "protocol=paper_tta")
    run(*tta, f"compare=[{second}]", out="other")
    shown = capsys.readouterr().out
    assert "not measured alike" in shown
    assert "flip test: [1] True, [2] False" in shown
    assert "decoder: [1] quarter, [2] argmax" in shown
    evidence = [
        intervals.load(each / "predictions" / "evidence.npz")
        for each in (second, second.parent / "other")
    ]
    assert None not in evidence
    gain = intervals.difference(evidence[:1], evidence[1:])
    scores = [record(each)["scores"]["PCKh@0.5"] for each in (second, second.parent / "other")]
    assert gain is not None and gain.value == pytest.approx(scores[1] - scores[0])
    assert str(gain) in " ".join(shown.split())
    pred = second / "pred.mat"
    run(*on(sets, "mpii"), f"predictions={pred}", f"compare=[{second}]", out="file")
    assert "decoder: not known of [1]" in capsys.readouterr().out


MISTAKES = {
    "nothing to score": ([], UsageError, "one of checkpoint=, weights=, onnx=, predictions="),
    "two things": (["checkpoint=a", "onnx=b"], UsageError, "checkpoint and onnx was given"),
    "weights alone": (["weights=a.pth", "data=mpii"], UsageError, "model=NETWORK"),
    "no data": (["predictions=a.mat"], UsageError, "data=DATASET"),
    "no checkpoint": (
        ["checkpoint=nowhere.ckpt"],
        PoseError,
        "There is no checkpoint nowhere.ckpt",
    ),
    "nothing to compare with": (
        ["predictions=a.mat", "compare=[b.json]"],
        PoseError,
        "no b.json to compare with",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_costs_one_sentence(case, run):
    overrides, kind, sentence = MISTAKES[case]
    with pytest.raises(kind, match=sentence) as caught:
        run(*overrides)
    assert "\n" not in str(caught.value)


def test_some_joints_alone_are_scored(run, sets, tmp_path):
    rng = np.random.default_rng(0)
    people = mpii.read(sets / "mpii", "val", published=False).persons
    predicted = (
        people.joints + rng.normal(0, 0.3, people.joints.shape) * people.head_size[:, None, None]
    )
    np.save(tmp_path / "found.npy", predicted + 1)
    source = f"predictions={tmp_path / 'found.npy'}"
    joints = ["left_wrist", "pelvis", "right_wrist"]
    score, folder = run(*on(sets, "mpii"), source, f"joints=[{','.join(joints)}]")
    of = [MPII.index(joint) for joint in joints]
    errors = distances(predicted, people.joints, people.visible, people.head_size)[:, of]
    known = ~np.isnan(errors)
    assert score == pytest.approx(100 * (errors[known] <= 0.5).sum() / known.sum())
    record = json.loads((folder / "metrics.json").read_text())
    assert (record["main"], record["only"]) == ("PCKh(3 joints)@0.5", joints)
    assert list(record["joints"]) == joints
    assert not (folder / "pred.mat").exists()
    whole, _ = run(*on(sets, "mpii"), source, "joints=limbs", out="limbs")
    assert whole != score
    # Of another measure than the data's nothing is scored: PCK of a torso needs its ends
    by_torso = [*on(sets, "mpii"), source, "data.metric._target_=featherpose.metrics.pck.PCK"]
    with pytest.raises(PoseError, match=r"PCK@0\.2 is measured by left_shoulder and right_hip"):
        run(*by_torso, "joints=[left_wrist,right_wrist]")
    _, folder = run(*by_torso, "joints=limbs", out="torso")
    assert json.loads((folder / "metrics.json").read_text())["main"] == "PCK(12 joints)@0.2"


def test_a_network_that_lacks_joints_is_scored_on_those_of_arms_and_legs(run, sets):
    with pytest.raises(PoseError, match=r"lacks pelvis, thorax, .* joints=limbs scores those"):
        run(*on(sets, "mpii"), "onnx=light")
    _, folder = run(*on(sets, "mpii"), "onnx=light", "protocol.flip=true", "joints=limbs")
    record = json.loads((folder / "metrics.json").read_text())
    assert record["main"] == "PCKh(12 joints)@0.5"
    joints = [joint for joint in MPII.joints if joint in COCO.joints]
    assert list(record["joints"]) == joints
    found = np.load(folder / "predictions" / "val.npz")["keypoints"][-1]
    network = FileBackend(file_of_name("light"))
    height, width = network.description.input_size
    people = mpii.read(sets / "mpii", "val", published=False)
    dataset = CropDataset(people, image.load, MPII, (height, width))
    batch = default_collate([dataset[0], dataset[5]])
    own = replace(network.description.protocol, flip=True)
    points, _ = Estimator(network, own).in_pictures(batch["image"].numpy(), batch["matrix"].numpy())
    of = [COCO.index(joint) for joint in joints]
    np.testing.assert_allclose(found[[0, 5]], points[-1][:, of], atol=1e-3)


def test_a_network_of_another_skeleton_is_refused(run, sets, checkpoints, onnx_file):
    with pytest.raises(PoseError, match=r"mpii \(16 joints\), but the data has coco \(17 joints\)"):
        run(f"checkpoint={checkpoints / 'mpii.ckpt'}", *on(sets, "coco"))
    with pytest.raises(PoseError, match="16 heatmaps"):
        run(f"onnx={onnx_file}", *on(sets, "coco"))
    with pytest.raises(PoseError, match="not an ONNX file"):
        run(f"onnx={checkpoints / 'mpii.pth'}", *on(sets, "mpii"))


def test_the_command_prints_the_published_figures(root, real_data, tmp_path):
    """The line of the documentation, with the files that its authors published."""
    folder = real_data / "mpii"
    command = [
        sys.executable,
        str(root / "src" / "evaluate.py"),
        "data=mpii",
        f"data.root={folder}",
    ]
    command += [f"predictions={folder / 'bearpaw-hg_s2_b1.mat'}", f"out={tmp_path}", "worst=0"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "87.299" in done.stdout
    assert "PCKh@0.5 unweighted 86.757" in done.stdout
    assert "2,958 persons" in done.stdout


def test_a_trained_checkpoint_scores_as_its_training_did(run, tiny_run):
    """The same protocol on the same people: the evaluation's own loop and Lightning's agree."""
    trained = json.loads((tiny_run / "run.json").read_text())["scores"]
    score, folder = run(f"checkpoint={tiny_run}")
    found = record(folder)
    assert score == pytest.approx(trained["val/score"], abs=1e-4)
    assert found["scores"]["EPE"] == pytest.approx(trained["val/EPE"], rel=1e-3)
    assert len(found["stages"]) == 3
    for number, stage in enumerate(found["stages"][:-1], start=1):
        assert stage["PCKh@0.5"] == pytest.approx(trained[f"val/stage{number}/score"], abs=1e-4)


def test_a_score_of_a_run_s_best_checkpoint_is_kept_beside_the_run(
    run, sets, checkpoints, nearly_right, tmp_path
):
    folder = tmp_path / "runs" / "train" / "a"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "best.ckpt").write_bytes((checkpoints / "coco.ckpt").read_bytes())
    best = {"path": "best.ckpt", "epoch": 3, "score": 50.0}
    record_of_run = {"name": "a", "state": "finished", "best": best, "scores": {"val/score": 50.0}}
    (folder / "run.json").write_text(json.dumps(record_of_run))
    score, _ = run(f"checkpoint={folder}", "protocol=paper_tta", *on(sets, "coco"))
    _, later = Run(folder).all_scores
    assert later.value == score
    assert later.metric == "AP"
    assert later.protocol["flip"] is True
    assert later.persons == record(tmp_path / "out")["annotated"] > 0
    assert later.precision == "32-true"
    run(f"checkpoint={folder / 'checkpoints' / 'best.ckpt'}", "protocol=raw", *on(sets, "coco"))
    assert len(Run(folder).all_scores) == 3
    run(f"checkpoint={checkpoints / 'coco.ckpt'}", *on(sets, "coco"))  # of no run: nothing is kept
    assert len(list(tmp_path.rglob("scores/*.json"))) == 2


def test_a_score_is_taken_apart_also_by_the_pictures_rotation(run, sets, checkpoints, tmp_path):
    folder = tmp_path / "runs" / "a"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "best.ckpt").write_bytes((checkpoints / "mpii.ckpt").read_bytes())
    best = {"path": "best.ckpt", "epoch": 3, "score": 50.0}
    (folder / "run.json").write_text(json.dumps({"name": "a", "state": "finished", "best": best}))
    score, out = run(f"checkpoint={folder}", *on(sets, "mpii"), "rotate=90")
    parts = record(out)["errors"]["parts"]
    turned = {part["name"]: part["score"] for part in parts if part["by"] == "rotation"}
    assert list(turned) == ["0", "90", "180"]
    assert turned["0"] == score
    assert {part["by"] for part in parts} == {"joint", "size", "rotation"}  # nobody is occluded
    kept = Run(folder).all_scores[-1]
    assert (folder / kept.errors).read_text() == (out / "errors.csv").read_text()
    with pytest.raises(PoseError, match="rotate is 0; it has to be a number above 0"):
        run(f"checkpoint={folder}", *on(sets, "mpii"), "rotate=0")


def test_both_sets_of_one_network_are_scored(run, root, tmp_path):
    network = ["model=lapx", "model.channels=16", "model.stages=1"]
    painted = "{_target_: featherpose.synthetic.painted.read, _partial_: true, seed: 0, "
    painted += "people: {train: 2, val: 3, test: 2}}"
    data = [
        "data=lsp_mpii", "data.input_size=[64,64]", "data.load._target_=featherpose.synthetic.painted.load",
        *(f"~data.read.sets.{name}.read" for name in ("lsp", "mpii")),
        *(f"+data.read.sets.{name}.read={painted}" for name in ("lsp", "mpii")),
        *(f"+data.read.sets.{name}.read.skeleton={name}" for name in ("lsp", "mpii")),
    ]  # fmt: skip
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        cfg = compose("train", [*network, *data, "paths.root=/nowhere"])
    torch.save(build(OmegaConf.to_container(cfg.model, resolve=True)).state_dict(), tmp_path / "a")
    score, out = run(f"weights={tmp_path / 'a'}", *network, *data)
    assert (record(out)["main"], record(out)["dataset"]) == ("PCK@0.2", "lsp")
    assert score == record(out)["scores"]["PCK@0.2"]
    further = record(out / "mpii")
    assert (further["main"], further["dataset"], further["persons"]) == ("PCKh@0.5", "mpii", 3)


def test_a_submission_needs_no_annotations(run, sets, checkpoints, nearly_right, tmp_path):
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    images = [{"id": n, "file_name": f"{n:012d}.jpg", "width": 640, "height": 640} for n in (1, 2)]
    listed = root / "annotations" / "image_info_test-dev2017.json"
    listed.write_text(json.dumps({"images": images}))
    box = {"category_id": 1, "bbox": [5, 5, 40, 50], "score": 0.9}
    boxes = [*([{**box, "image_id": 1}] * 25), {**box, "image_id": 2}]
    (root / "boxes.json").write_text(json.dumps(boxes))
    words = ["data=coco", f"data.root={root}", f"data.detections={root / 'boxes.json'}"]
    words += ["data.input_size=[64,64]", "protocol.boxes=detections", "submit=test-dev2017"]
    words += ["+data.metric.suppression=none"]
    _, out = run(f"checkpoint={checkpoints / 'coco.ckpt'}", *words, "name=mine")
    name = "person_keypoints_test-dev2017_mine_results"
    records = json.loads((out / f"{name}.json").read_text())
    assert [record["image_id"] for record in records] == [*[1] * 20, 2], (
        "COCO counts no more of a picture"
    )
    assert (out / f"{name}.zip").is_file()
    with pytest.raises(UsageError, match="submit= needs a network, data=coco"):
        run(f"checkpoint={checkpoints / 'coco.ckpt'}", "submit=test-dev2017")
