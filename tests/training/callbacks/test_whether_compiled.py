from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch._dynamo import register_backend

from featherpose.runs.record import RunRecord
from featherpose.runs.recording import Recording
from featherpose.training.callbacks.whether_compiled import WhetherCompiled

pytestmark = pytest.mark.slow

FEW = ("schedule.epochs=1", "trainer.limit_train_batches=1", "trainer.limit_val_batches=0")


def no_compiler(graph: Any, examples: Any) -> Any:
    raise RuntimeError("no C++ compiler")


register_backend(no_compiler, name="no_compiler")


@pytest.mark.parametrize(
    ("backend", "worked"), [("eager", True), ("no_compiler", False), ("false", True)]
)
def test_the_record_says_whether_the_compiler_worked(
    fit: Any, tmp_path: Path, backend: str, worked: bool
) -> None:
    """With `compile=false` it is not asked: what the record says stays."""
    record = Recording(tmp_path)
    record.update(compile=True)
    fit(tmp_path, *FEW, f"compile={backend}", extra=(WhetherCompiled(record),))
    found = RunRecord.read(tmp_path)
    assert found is not None
    assert found.compile is worked
