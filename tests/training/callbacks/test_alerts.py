"""Alerts: a line in the folder, a command, W&B where it is online."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.loggers import WandbLogger

from featherpose.errors import PoseError
from featherpose.training.callbacks.alerts import Alerts


class OnWandb(WandbLogger):
    """Stands for a run that is online, or offline."""

    def __init__(self, offline: bool) -> None:
        self.told: list[str] = []
        alert = lambda title, text: self.told.append(text)  # noqa: E731
        self.run = SimpleNamespace(offline=offline, alert=alert)

    @property
    def experiment(self) -> Any:
        return self.run


def trainer(*loggers: Any) -> Any:
    return SimpleNamespace(
        is_global_zero=True, current_epoch=3, global_step=70, loggers=list(loggers)
    )


def test_an_error_is_told_everywhere(tmp_path: Path) -> None:
    online, offline = OnWandb(offline=False), OnWandb(offline=True)
    alerts = Alerts(tmp_path, command='echo "$ALERT" > "$RUN/told.txt"')
    alerts.on_exception(trainer(online, offline), None, PoseError("The loss is nan."))  # ty: ignore
    sentence = f"{tmp_path.name}, epoch 3, step 70: The loss is nan."
    assert (tmp_path / "alerts.txt").read_text().rstrip().endswith(sentence)
    assert (tmp_path / "told.txt").read_text().rstrip() == sentence
    assert online.told == [sentence]
    assert offline.told == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyboardInterrupt(), "stopped before its end"),
        (SystemExit(143), "stopped before its end"),
        (ValueError("odd"), "ValueError: odd"),
    ],
)
def test_in_words(error: BaseException, words: str, tmp_path: Path) -> None:
    Alerts(tmp_path).on_exception(trainer(), None, error)  # ty: ignore[invalid-argument-type]
    assert words in (tmp_path / "alerts.txt").read_text()


def test_a_good_end_by_option(tmp_path: Path) -> None:
    Alerts(tmp_path).on_fit_end(trainer(), None)  # ty: ignore[invalid-argument-type]
    assert not (tmp_path / "alerts.txt").exists()
    Alerts(tmp_path, finished=True).on_fit_end(trainer(), None)  # ty: ignore[invalid-argument-type]
    assert "trained to its end" in (tmp_path / "alerts.txt").read_text()


def test_a_command_that_fails_is_told_and_passed_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Alerts(tmp_path, command="exit 3").on_exception(trainer(), None, ValueError("odd"))  # ty: ignore
    assert "callbacks.alerts.command failed: exit code 3" in capfd.readouterr().out
