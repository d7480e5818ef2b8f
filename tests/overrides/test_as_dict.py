"""A config as plain values."""

from __future__ import annotations

from omegaconf import OmegaConf

from featherpose.overrides.as_dict import as_dict


def test_references_are_resolved() -> None:
    cfg = OmegaConf.create({"a": 1, "b": {"c": ["${a}"]}})
    assert as_dict(cfg) == {"a": 1, "b": {"c": [1]}}
    assert type(as_dict(cfg)["b"]) is dict
