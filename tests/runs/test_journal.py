"""The journal of a search outlives whoever is killed while it writes."""

from __future__ import annotations

import json
from pathlib import Path

from featherpose.runs.journal import Journal


def test_a_line_after_half_a_line_of_a_killed_process_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "search.journal"
    Journal(path).append_logs([{"op_code": 0}])
    with path.open("a") as file:
        file.write('{"op_code": 4, "wor')
    (tmp_path / "search.journal.lock").symlink_to(path)  # Optuna's, which stays after a kill
    Journal(path).append_logs([{"op_code": 1}])
    assert [json.loads(line)["op_code"] for line in path.read_text().splitlines()] == [0, 1]
    assert not (tmp_path / "search.journal.lock").is_symlink()
