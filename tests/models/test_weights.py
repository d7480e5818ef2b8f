"""The LAPX authors' checkpoints load, and the network then gives their numbers.

`lapx_published.npz` holds the names and shapes of their state dict, and every fourth pixel of what their network puts
out for weights and images that are made from nothing but those names (see `tensor_for` and `pictures`).
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.models.hourglass import Hourglass
from featherpose.models.layers import attention
from featherpose.models.weights import load_published, to_published

pytestmark = pytest.mark.slow

REFERENCE = np.load(Path(__file__).with_name("lapx_published.npz"))
LAPX = {
    "soft_gate": True,
    "stem_attention": "eca_cbam",
    "stage_attention": "eca_cbam",
    "neck": "eca_nonlocal_at_ends",
}


def tensor_for(name: str, shape: list[int], salt: int = 1) -> Tensor:
    rng = np.random.default_rng([zlib.crc32(name.encode()), salt])
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    values = rng.standard_normal(shape)
    if name.endswith("running_var"):
        values = 0.5 + np.abs(values)
    elif name.endswith("gamma"):
        values = np.full(shape, 0.35)
    elif name.endswith("alpha"):
        values = 0.5 + 0.1 * values
    elif len(shape) == 1 and name.endswith("weight"):
        values = 1 + 0.1 * values
    elif name.endswith(("bias", "running_mean")):
        values = 0.1 * values
    else:
        values = values / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32))


def pictures(height: int, width: int, salt: int = 1) -> Tensor:
    values = np.random.default_rng([7, salt]).standard_normal((2, 3, height, width))
    return torch.from_numpy(values.astype(np.float32))


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    shapes = {
        str(n): json.loads(str(s))
        for n, s in zip(REFERENCE["names"], REFERENCE["shapes"], strict=True)
    }
    return {name: tensor_for(name, shape) for name, shape in shapes.items()}


@torch.no_grad()
def test_outputs_equal_the_authors(published):
    network = Hourglass(17, **LAPX).eval()
    load_published(network, published)
    for i, heatmaps in enumerate(network(pictures(256, 192))):
        expected = torch.from_numpy(REFERENCE[f"stage{i}"])
        assert (heatmaps[:, :, ::4, ::4] - expected).abs().max() <= 1e-4 * expected.abs().max()


@torch.no_grad()
def test_non_local_takes_part_in_the_output(published):
    """The authors' module skips Non-Local until a switch is set; here the state dict alone decides."""
    network = Hourglass(17, **LAPX).eval()
    load_published(network, published)
    expected = torch.from_numpy(REFERENCE["stage0"])
    load_published(network, published | {"hg.0.attention.position_attention.gamma": torch.zeros(1)})
    off = network(pictures(256, 192))[0][:, :, ::4, ::4]
    assert (off - expected).abs().max() > 1e-2 * expected.abs().max()


@pytest.mark.parametrize(
    "wrap", ["bare", "state_dict", "model", "module.", "nested", "without counters"]
)
def test_every_kind_of_file(published, wrap, tmp_path):
    content = {
        "bare": published,
        "state_dict": {
            "state_dict": published,
            "epoch": 200,
            "best_acc": np.float64(88.6),
            "optimizer": {"state": {}},
        },
        "model": {"model": published},
        "module.": {f"module.{name}": value for name, value in published.items()},
        "nested": {
            "model": {
                "state_dict": {f"model.module.{name}": value for name, value in published.items()}
            }
        },
        "without counters": {
            n: v for n, v in published.items() if not n.endswith("num_batches_tracked")
        },
    }[wrap]
    torch.save(content, tmp_path / "weights.tar")
    network = Hourglass(17, **LAPX)
    load_published(network, tmp_path / "weights.tar")
    assert all(torch.equal(value, published[name]) for name, value in to_published(network).items())


@pytest.mark.parametrize("joints", [16, 17])
@pytest.mark.parametrize(
    "row", [LAPX, LAPX | {"stages": 2, "channels": 64}, {"neck": "eca", "depth": 3, "channels": 32}]
)
def test_there_and_back(joints, row):
    with torch.device("meta"):
        network = Hourglass(joints, **row)
    network.to_empty(device="cpu").load_state_dict(
        {n: tensor_for(n, v.shape) for n, v in network.state_dict().items()}
    )
    names = to_published(network)
    assert len(names) == len(network.state_dict())
    again = Hourglass(joints, **row)
    load_published(again, names)
    assert all(
        torch.equal(value, network.state_dict()[name]) for name, value in again.state_dict().items()
    )


def test_our_own_names_load_too(tmp_path):
    network, again = (Hourglass(5, stages=1, channels=16, depth=1) for _ in range(2))
    torch.save(
        {"state_dict": {f"network.{n}": v for n, v in network.state_dict().items()}},
        tmp_path / "ours.pt",
    )
    load_published(again, tmp_path / "ours.pt")
    assert all(
        torch.equal(value, network.state_dict()[name]) for name, value in again.state_dict().items()
    )


def test_what_does_not_fit_is_listed_and_nothing_is_loaded(published):
    network = Hourglass(16, **LAPX)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    wrong = {name: value for name, value in published.items() if name != "bn1.weight"} | {
        "surplus": torch.ones(2)
    }
    with pytest.raises(PoseError) as error:
        load_published(network, wrong)
    text = str(error.value)
    assert "1 missing:\n  bn1.weight" in text
    assert "1 not in the network:\n  surplus" in text
    assert "score.0.weight: (17, 208, 1, 1) in the file, (16, 208, 1, 1) in the network" in text
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_weights_of_another_network_are_told_in_a_few_lines():
    with pytest.raises(PoseError) as error:
        load_published(
            Hourglass(16, stages=1, channels=16, depth=1),
            {"other": torch.zeros(1)} | {f"layer{i}": torch.zeros(1) for i in range(300)},
        )
    lines = str(error.value).splitlines()
    assert len(lines) == 15
    assert lines[8:] == [
        "301 not in the network:",
        "  other",
        *(f"  layer{i}" for i in range(4)),
        "  and 296 more",
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "There is no weights file"),
        (b"no weights", "read safely"),
        ({"epoch": 1}, "holds no"),
    ],
)
def test_files_that_are_no_weights(content, says, tmp_path):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(PoseError, match=says):
        load_published(Hourglass(16, stages=1, channels=16, depth=1), path)


class Thief:
    def __reduce__(self):
        return (print, ("code ran",))


def test_code_in_a_file_is_not_run(tmp_path, capsys):
    torch.save(
        {"state_dict": {"conv1.weight": torch.ones(1)}, "extra": Thief()}, tmp_path / "weights.pth"
    )
    with pytest.raises(PoseError, match="read safely"):
        load_published(Hourglass(16, stages=1, channels=16, depth=1), tmp_path / "weights.pth")
    assert "code ran" not in capsys.readouterr().out


class AuthorsCbam(nn.Module):
    """CBAM by the equations and names of the authors' model file: one perceptron, two sigmoids."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers = (channels, channels // 16), (channels // 16, channels)
        first, second = (nn.Linear(a, b, bias=False) for a, b in layers)
        self.fc = nn.Sequential(first, nn.ReLU(), second, nn.Sigmoid())
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x * (self.fc(x.amax((2, 3))) + self.fc(x.mean((2, 3))))[:, :, None, None]
        both = torch.stack([x.amax(1), x.mean(1)], dim=1)
        return x * self.conv(both).sigmoid()


def test_cbam_is_the_authors_and_has_their_names() -> None:
    torch.manual_seed(0)
    network = Hourglass(16, stages=1, channels=32, depth=1, stage_attention="cbam_apart")
    published = to_published(network)
    theirs = AuthorsCbam(32)
    start = "backbone_attention.0."
    state = {k.removeprefix(start): v for k, v in published.items() if k.startswith(start)}
    theirs.load_state_dict(state)  # every name, and no more
    x = torch.randn(2, 32, 8, 8)
    ours = network.stages[0].attention
    torch.testing.assert_close(ours(x), theirs(x))
    cited = attention("cbam", 32)
    cited.load_state_dict(ours.state_dict())  # earlier files load into both
    assert (cited(x) - theirs(x)).abs().max() > 0.3 * theirs(x).abs().max()
    again = Hourglass(16, stages=1, channels=32, depth=1, stage_attention="cbam_apart")
    load_published(again, published)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in network.state_dict().items())
