"""Any folder's name survives Hydra's grammar."""

from __future__ import annotations

from hydra.core.override_parser.overrides_parser import OverridesParser

from featherpose.overrides.quoting import quoted


def test_awkward_folders_survive_hydras_grammar() -> None:
    for name in ("a b", "it's", "x=1,y=2", "{a}", 'say "so"', "[1]"):
        override = OverridesParser.create().parse_override(f"hydra.run.dir={quoted(name)}")
        assert override.value() == name
