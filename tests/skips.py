"""What was skipped and why; `--expected-skips=FILE` ends a run in which something else was."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest


class Skips:
    """Counts the reasons of a run's skips, and fails the run on one that no line of the list fits."""

    def __init__(self, expected: list[str]) -> None:
        self.expected = [line for line in expected if line.strip() and not line.startswith("#")]
        self.reasons: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self.reasons[report.longrepr[2].removeprefix("Skipped: ")] += 1

    pytest_collectreport = pytest_runtest_logreport  # whole files are skipped while they are read

    def unexpected(self) -> list[str]:
        return [
            reason
            for reason in self.reasons
            if not any(re.match(line, reason) for line in self.expected)
        ]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unexpected():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for reason, count in self.reasons.most_common():
            wrong = "  NOT EXPECTED" if reason in self.unexpected() else ""
            terminalreporter.write_line(f"skipped {count}: {reason}{wrong}")


def watch(config: pytest.Config) -> None:
    """Where the list is named."""
    path = config.getoption("--expected-skips")
    if path:
        config.pluginmanager.register(Skips(Path(path).read_text(encoding="utf-8").splitlines()))
