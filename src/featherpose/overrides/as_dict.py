"""From Hydra's config to plain values: the door at which the rest of the house begins."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf


def as_dict(cfg: DictConfig) -> dict[str, Any]:
    """Dicts, lists and values, all references resolved."""
    found = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}
