"""What a training run says at its start and at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from rich.panel import Panel
from rich.table import Table

from featherpose import image, intervals
from featherpose.console import console
from featherpose.crop import around
from featherpose.data.baseline import mean_pose, predict_mean_pose
from featherpose.draw import contact_sheet, draw_pose
from featherpose.files import replacing
from featherpose.metrics.breakdown import breakdown, write
from featherpose.models.count import count
from featherpose.models.network import output_names_of
from featherpose.place import command
from featherpose.runs.predictions import keep_predictions
from featherpose.runs.record import DataFacts, NetworkFacts
from featherpose.runs.recording import Recording
from featherpose.runs.score import ERRORS, EVIDENCE, PREDICTIONS
from featherpose.training import also_scored
from featherpose.training.module import PoseModule
from featherpose.zoo.start import Start

TILE = 256  # pixels of a person's picture on the sheet


def facts(module: PoseModule, data: Any, config: dict[str, Any]) -> dict[str, Any]:
    """The part of run.json that is known before the first step."""
    size = count(module.network, *data.input_size)
    network = module.network
    people = {"train": data.train_people, "val": data.val_people}
    people |= {name: each.val_people for name, each in getattr(data, "also", {}).items()}
    return {
        "compile": module.compiler is not None,
        "network": NetworkFacts(
            name=type(network).__name__,
            parameters=size.parameters,
            macs=size.convolution_macs,
            thop_macs=size.thop_macs,
            thop_parameters=size.layer_parameters,
            stages=config["model"].get("stages"),
            channels=getattr(network, "channels", config["model"].get("channels")),
            stride=module.stride,
            outputs=output_names_of(network, module.count_outputs(data.input_size)),
        ),
        "data": DataFacts(
            name=data.name,
            train=len(data.train_people.persons),
            val=len(data.val_people.persons),
            scored_on=data.scored_on,
            skipped={split: found.skipped for split, found in people.items() if found.skipped},
            sources={k: v for each in people.values() for k, v in each.sources.items()},
            input_size=list(data.input_size),
        ),
        "protocol": data.stamp(
            module.protocol, module.stride, data.new_metric(module.protocol.mean)
        ),
    }


def start(recording: Recording, trainer: L.Trainer) -> None:
    """One panel: what trains on what, where, and where it all goes."""
    if not trainer.is_global_zero:
        return
    record = recording.record
    network, data = record.network, record.data
    height, width = data.input_size
    counted = {"stages": network.stages, "channels": network.channels}
    shape = " x ".join(f"{n} {key}" for key, n in counted.items() if isinstance(n, int))
    epochs = (
        f"{trainer.max_epochs} epochs"
        if (trainer.max_epochs or -1) > 0
        else f"{trainer.max_steps:,} steps"
    )
    rows = {
        "network": f"{record.name}: {network.name} {shape}".rstrip(),
        "size": f"{(network.parameters or 0) / 1e6:.2f} M parameters, {(network.macs or 0) / 1e9:.2f} GMAC "
        f"at {height}x{width}",
        "data": f"{data.name}: {data.train:,} persons to train, {data.val:,} to validate",
        "skipped": ", ".join(
            f"{n} {why} ({s})" for s, counts in data.skipped.items() for why, n in counts.items()
        ),
        "protocol": record.protocol["name"],
        "device": f"{record.device}, {trainer.precision}, {trainer.world_size} process(es), {epochs}",
        "folder": str(recording.folder),
    }
    _panel("featherpose", rows)


@rank_zero_only
def show_start(start: Start) -> None:
    """What a network took over from other weights, and what starts anew."""
    _panel("weights", start.rows())


def _panel(title: str, rows: dict[str, str]) -> None:
    table = Table.grid(padding=(0, 2))
    for label, value in rows.items():
        if value:
            table.add_row(f"[bold]{label}[/]", value)
    console.print(Panel(table, title=title, title_align="left", expand=False))


def end(recording: Recording, module: PoseModule, data: Any, scores: dict[str, float]) -> None:
    """The score table with the mean-pose baseline beside it, the picture, and the next command."""
    record, folder = recording.record, recording.folder
    assert module.last_predictions is not None
    seen = np.unique(module.last_predictions[0])  # fewer than all with trainer.limit_val_batches
    baseline = mean_pose_scores(module, data, seen)
    main = module.keypoint_metrics()[-1].main
    scored = {f"mean pose/{name}": value for name, value in baseline.items()}
    before = record.baseline
    last = also_scored.metric_of(module, data, module.last_predictions)
    evidence = last.evidence()
    bounds = intervals.interval(evidence)
    intervals.save(folder / EVIDENCE, evidence)
    parts = breakdown(last)
    if parts:
        write(folder / ERRORS, parts)
    recording.update(
        scores=scores,
        scored=len(seen),
        interval=[bounds.low, bounds.high],
        baseline={**before, "mean pose": baseline[main], **scored},
    )
    others = also_scored.keep(folder, record, module, data)
    persons = data.val_people.persons
    kept = keep_predictions(folder / PREDICTIONS, *module.last_predictions, persons)
    picture = prediction_picture(folder, data, kept)

    columns = [name.removeprefix("val/joint/") for name in scores if name.startswith("val/joint/")]
    part = "" if len(seen) == len(persons) else f", {len(seen):,} of {len(persons):,} people only"
    table = Table(
        title=f"{record.name}: {main} on {data.scored_on} ({record.protocol['name']}){part}"
    )
    table.add_column("")
    for column in [*columns, main]:
        table.add_column(column, justify="right")
    for number, name in enumerate(record.network.outputs[:-1], start=1):
        score = f"{scores[f'val/stage{number}/score']:.2f}"
        table.add_row(name, *[""] * len(columns), score, style="dim")
    ours = [f"{scores[f'val/joint/{c}']:.1f}" for c in columns]
    table.add_row("best checkpoint", *ours, f"{scores['val/score']:.2f}", style="bold")
    mean = [f"{baseline.get(f'joint/{c}', float('nan')):.1f}" for c in columns]
    table.add_row("mean pose", *mean, f"{baseline[main]:.2f}")
    if "untrained" in before:
        table.add_row("untrained", *[""] * len(columns), f"{before['untrained']:.2f}")
    console.print(table)
    best = record.best.path if record.best else ""
    console.print(f"95% interval     {bounds.low:.2f} to {bounds.high:.2f}, drawn over pictures")
    for other in others:
        value = "{:.2f}, 95% in {:.2f} to {:.2f}".format(other.value, *other.interval)
        console.print(f"also scored      {other.metric} on {other.data}: {value}")
    console.print(f"best checkpoint  {best}\npredictions      {picture}")
    console.print(f"try next         {command(f'predict checkpoint={best} source=PICTURE.jpg')}")


def mean_pose_scores(module: PoseModule, data: Any, seen: np.ndarray) -> dict[str, float]:
    """The score of always answering with the mean pose of the training persons, for these people of the validation."""
    metric = data.new_metric(module.protocol.mean).on_this_rank()  # the others are not here
    mean = mean_pose(data.train_people, data.input_size)
    keypoints = predict_mean_pose(data.val_people, mean, data.input_size)
    points = torch.as_tensor(np.asarray(keypoints)[seen], dtype=torch.float32)
    metric.update(torch.as_tensor(seen), points, torch.ones(points.shape[:2]))
    return metric.compute()


def prediction_picture(
    folder: Path, data: Any, predictions: dict[str, np.ndarray], count: int = 12
) -> Path:
    """Some validation persons with the predicted skeleton on them."""
    tiles = []
    for row in range(min(count, len(predictions["index"]))):
        person = data.val_people.persons[int(predictions["index"][row])]
        drawn = draw_pose(
            data.load(person), predictions["keypoints"][-1][row], person.visible, data.skeleton
        )
        tiles.append(around(drawn, person.centre, person.scale, TILE))
    path = folder / "pictures" / "predictions.png"
    with replacing(path) as beside:
        image.write(beside, contact_sheet(tiles, columns=6))
    return path
