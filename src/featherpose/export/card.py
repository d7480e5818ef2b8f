"""What ships beside an ONNX file: bare weights, and a card that says what they are good for."""

from __future__ import annotations

from pathlib import Path

import torch

from featherpose.errors import PoseError
from featherpose.files import replacing, write_atomically
from featherpose.inference.backends import FileBackend
from featherpose.runs.record import FINISHED, RunRecord
from featherpose.zoo.checkpoint import load_checkpoint

KNOWS = {
    "synthetic": "drawn figures only. It has seen no real picture: good for trying the tools, not for real people.",
    "lspet": "crowd-labelled sports pictures (parkour, gymnastics, athletics) with one person each, about 150 pixels "
    "tall. The labels are noisy, the pictures' terms allow research use.",
}


def ship(run: str | Path) -> list[Path]:
    """Writes `weights.pt` (the network's state dict) and `MODEL_CARD.md` into a finished run's folder."""
    folder = Path(run)
    record = RunRecord.read(folder)
    if record is None or record.state != FINISHED or record.best is None:
        raise PoseError(f"{folder} is not a finished run with a best checkpoint.")
    checkpoint = load_checkpoint(folder / "checkpoints" / Path(record.best.path).name)
    weights, card = folder / "weights.pt", folder / "MODEL_CARD.md"
    with replacing(weights) as beside:
        torch.save(checkpoint.weights, beside)
    exported = checkpoint.path.with_suffix(".onnx")
    text = card_text(record, weights.stat().st_size, exported if exported.is_file() else None)
    write_atomically(card, text)
    return [weights, card]


def card_text(record: RunRecord, size: int, exported: Path | None = None) -> str:
    network, data = record.network, record.data
    height, width = data.input_size
    kind = data.name.split("_")[0]
    main = next(
        (n.removeprefix("val/") for n in record.scores if n.startswith(("val/PCK", "val/AP"))),
        "score",
    )
    lines = [
        f"# {record.name}",
        "",
        f"- Network: {network.name}, {network.parameters:,} parameters, {(network.macs or 0) / 1e9:.3f} GMAC "
        f"at {height}x{width}; weights {size / 2**20:.1f} MB.",
        f"- Trained on: {data.name}, {data.train:,} persons, seed {record.seed}; it knows "
        f"{KNOWS.get(kind, 'what that dataset shows.')}",
        f"- Score: {main} {record.scores['val/score']:.2f} on {data.val:,} held-out persons "
        f"(protocol {record.protocol['name']}); mean pose {record.baseline['mean pose']:.2f}.",
        *_confidences(exported),
        "- Not for: identifying people, medical or safety decisions; scores differ between groups of people and were "
        "not examined.",
        f"- Made by: `{record.command}` at commit {record.git.commit}, {record.finished}.",
        "",
    ]
    return "\n".join(lines)


def _confidences(exported: Path | None) -> list[str]:
    """What the exported file's confidences mean, where it knows."""
    chances = None if exported is None else FileBackend(exported, threads=1).description.chances
    if chances is None:
        return []
    return [
        f"- Confidence: the height of a peak, no chance (calibration error {chances.error_before:.3f}); the exported "
        f"file gives the chance that a joint is within {chances.near} (error {chances.error_after:.3f}), both on "
        f"{chances.judged:,} people that were not fitted on. F1 is highest ({chances.f1:.2f}) where joints are kept "
        f"from confidence {chances.threshold:.2f} on."
    ]
