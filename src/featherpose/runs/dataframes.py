"""Runs as data frames: one row per run, the differences between runs, curves side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from featherpose.runs.flat import flat
from featherpose.runs.folder import Run

# Parts of a config that say where and how a run was made, not what it is.
# Of the callbacks it is those that watch; the others (gamma_warmup, ema, people's own) change what is learned.
_INCIDENTAL = re.compile(
    r"(paths|logger|hydra)(\..*)?|(resume|ckpt_path|name|tags|data\.root|data\.workers|data\.cache).*"
    r"|callbacks\.(alerts|nan_guard|previews|progress|resume|steps|stop_cleanly|throughput)(\..*)?"
    r"|callbacks\..*\.(path|folder|dirpath)"
)


def runs_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per run: name, state, scores, size, protocol, time."""
    return pd.DataFrame([_row(run) for run in runs])


def config_frame(runs: Sequence[Run], incidental: bool = False) -> pd.DataFrame:
    """One row per config key, one column per run."""
    columns = {}
    for name, run in zip(names_apart(runs), runs, strict=True):
        values = flat(run.config)
        columns[name] = {
            key: value for key, value in values.items() if incidental or not is_incidental(key)
        }
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


def diff(runs: Sequence[Run], incidental: bool = False) -> pd.DataFrame:
    """The config keys in which the runs differ, then their commits, versions and scores where those differ."""
    table = config_frame(runs, incidental)
    names = list(table.columns)
    rows = [_facts(run) for run in runs]
    extra = pd.DataFrame(
        {name: pd.Series(row, dtype=object) for name, row in zip(names, rows, strict=True)}
    )
    table = pd.concat([table, extra])
    differs = [len({_text(value) for value in row}) > 1 for row in table.itertuples(index=False)]
    return table[differs].sort_index(
        key=lambda keys: keys.map(lambda key: (key.startswith("score"), key))
    )


def made_by(differences: pd.DataFrame) -> pd.Series:
    """Which rows of a `diff` are no settings: scores, commits, versions, machines."""
    return differences.index.to_series().str.startswith(("score.", "run."))


def rounded(differences: pd.DataFrame) -> pd.DataFrame:
    """For people: scores with two digits, settings as they are written, nothing for what one run does not have."""

    def text(value: Any) -> str:
        if value is None or (isinstance(value, float) and pd.isna(value)):
            return ""
        return f"{value:.10g}" if isinstance(value, float) else str(value)

    rows = {
        key: [
            f"{value:.2f}" if key.startswith("score.") and text(value) else text(value)
            for value in row
        ]
        for key, *row in differences.itertuples()
    }
    return pd.DataFrame.from_dict(
        rows, orient="index", columns=list(differences.columns), dtype=object
    )


def curves(runs: Sequence[Run], column: str) -> pd.DataFrame:
    """One column of metrics.csv by epoch, one column per run; NaN where a run has no such value."""
    found: dict[str, pd.Series] = {}
    for name, run in zip(names_apart(runs), runs, strict=True):
        table = run.metrics.set_index("epoch")
        found[name] = table[column] if column in table else pd.Series(dtype=float)
    return pd.DataFrame(found)


def output_scores(run: Run) -> list[float]:
    """The best checkpoint's score after every supervised output, the final one's last where there is one."""
    names = (re.fullmatch(r"stage(\d+)/score", name) for name in run.scores)
    early = sorted((int(found[1]), run.scores[found[0]]) for found in names if found)
    return [*(score for _, score in early), *([run.score] if run.score is not None else [])]


def same_outputs(runs: Sequence[Run]) -> tuple[str, ...]:
    """What the outputs are called, where that is the same in all runs."""
    named = {tuple(run.record.network.outputs) for run in runs}
    return named.pop() if len(named) == 1 else ()


def best_curves(table: pd.DataFrame, column: str, most: int) -> list[str]:
    """The curves that a picture names: all, or of many the best by their best value."""
    if len(table.columns) <= most:
        return list(table.columns)
    best = table.min() if "loss" in column else -table.max()
    return list(best.sort_values().index[:most])


def is_incidental(key: str) -> bool:
    """Whether a config key says where and how a run was made, and not what was learned."""
    return _INCIDENTAL.fullmatch(key) is not None


def _row(run: Run) -> dict[str, Any]:
    record = run.record
    network, data = record.network, record.data
    low, high = run.own_score.interval or (None, None)
    return {
        "name": run.name,
        "id": run.id,
        "state": run.state,
        "score": run.score,
        "low": low,  # where 95% of draws over pictures lie
        "high": high,
        "metric": run.metric,
        "epochs": len(run.metrics),
        "best epoch": record.best.epoch if record.best else None,
        "seed": record.seed,
        "data": data.name or None,
        "parameters": network.parameters,
        "macs": network.macs,
        "scored on": ", ".join(filter(None, [data.name, record.protocol.get("name")])),
        "protocol": run.protocol,
        "group": record.group,
        "started": record.started,
        "seconds": run.seconds,
        "silent": run.silent,
        "error": record.error,
        "folder": str(run.folder),
    }


def _facts(run: Run) -> dict[str, Any]:
    record = run.record
    dirty = " (changed)" if record.git.dirty else ""
    found: dict[str, Any] = {
        "run.commit": f"{str(record.git.commit)[:10]}{dirty}",
        "run.state": run.state,
    }
    found |= {f"run.versions.{name}": value for name, value in record.versions.items()}
    found |= {"run.host": record.host, "run.device": record.device}
    found |= {f"score.{name}": value for name, value in run.scores.items()}
    return found


def names_apart(runs: Sequence[Run], names: Sequence[str] | None = None) -> list[str]:
    """The runs' names, or others for them; those of one name with their ids, or as much of the folder as is needed."""
    found: list[str] = []
    wanted = list(names or (run.name for run in runs))
    for name, run in zip(wanted, runs, strict=True):
        parts = run.folder.resolve().parts
        ends = (run.id, *("/".join(parts[-depth:]) for depth in range(1, len(parts))))
        longer = [name] if wanted.count(name) == 1 else [f"{name} ({end})" for end in ends]
        found.append(next((each for each in longer if each not in found), f"run {len(found) + 1}"))
    return found


def _text(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)
