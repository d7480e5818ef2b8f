"""The protocol as a type: what it may be, and the flip test's shift."""

import pytest
import torch

from featherpose.errors import PoseError
from featherpose.heatmaps import decode, encode, flip_back
from featherpose.protocol import Protocol


def test_a_config_becomes_a_protocol_and_a_record_again():
    given = {"name": "paper_tta", "flip": True, "shift": "auto", "decoder": "dark"}
    protocol = Protocol.of(given)
    assert protocol == Protocol("paper_tta", flip=True, decoder="dark")
    assert Protocol.of(protocol.as_dict()) == protocol
    assert Protocol.of(protocol) is protocol


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"decoder": "foo"}, "no protocol.decoder=foo; known: quarter, dark, argmax"),
        ({"flip": "maybe"}, "protocol.flip is maybe; it has to be true or false"),
        ({"shift": 2}, "protocol.shift is 2; it has to be auto, true or false"),
        ({"boxes": "mine"}, "no protocol.boxes=mine; known: ground_truth, detections"),
        ({"mean": "median"}, "no protocol.mean=median"),
        ({"flop": True}, "has flop, which nothing reads"),
    ],
)
def test_a_wrong_entry_is_named(wrong, sentence):
    with pytest.raises(PoseError, match=sentence):
        Protocol.of({"flip": False, "decoder": "quarter", **wrong})


@pytest.mark.parametrize("given", [3, {}, {"flip": True}, None])
def test_a_file_that_says_too_little_is_refused(given):
    with pytest.raises(PoseError, match=r"The protocol of x\.onnx has to say flip and decoder"):
        Protocol.of(given, "x.onnx")


def test_single_entries_are_replaced():
    protocol = Protocol("raw", decoder="argmax").with_changes({"flip": True, "decoder": None})
    assert protocol == Protocol("raw", flip=True, decoder="argmax")


def test_the_record_says_whether_heatmaps_were_moved():
    def done(protocol, stride):
        return protocol.applied(stride, "ground_truth", "weighted").shift

    assert done(Protocol(flip=True), stride=1) is False
    assert done(Protocol(flip=True), stride=4) is True
    assert done(Protocol(flip=True, shift=True), stride=1) is True
    assert done(Protocol(flip=False, shift=True), stride=4) is False


def test_the_record_says_which_boxes_and_which_mean_were_taken():
    asked = Protocol(boxes="detections", mean="unweighted")
    done = asked.applied(4, "ground_truth", None)
    assert (done.boxes, done.mean) == ("ground_truth", None)


@pytest.mark.parametrize(("stride", "bound"), [(1, 0.01), (2, 0.51), (4, 0.51)])
def test_the_flip_test_moves_ideal_joints_by_less_than_half_a_crop_pixel(stride, bound):
    """By DARK, in crop pixels: heatmaps that a perfect network gives of a crop and of its mirror image."""
    side = 128
    x = torch.linspace(40, 88, 25, dtype=torch.float64)
    joints = torch.stack([x, torch.full_like(x, 60)], dim=-1)[None]  # (1, K, 2)
    mirrored = torch.stack([side - 1 - joints[..., 0], joints[..., 1]], dim=-1)
    order = range(joints.shape[1])
    seen = torch.ones(joints.shape[:2])
    size = (side // stride, side // stride)
    plain, other = (
        encode(each / stride, seen, size, 2.0, quantised=False, truncate=None)[0]
        for each in (joints, mirrored)
    )
    shift = Protocol(flip=True).shifts(stride)
    found, _ = decode((plain + flip_back(other, order, shift)) / 2, "dark")
    bias = (found[..., 0] * stride - joints[..., 0]).mean()
    assert abs(float(bias)) < bound
    if stride == 1:  # what a pixel's shift would do
        wrong, _ = decode((plain + flip_back(other, order, True)) / 2, "dark")
        assert float((wrong[..., 0] - joints[..., 0]).mean()) == pytest.approx(0.5, abs=0.01)
