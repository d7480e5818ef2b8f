"""Experiments that were the training of another one under a second name."""

from __future__ import annotations

# What fills the row now
SAME_TRAINING = {
    "lapx_table1_tta": ("experiment=lapx_table3_12", "protocol=paper_tta"),
    "lapx_table1_no_tta": ("experiment=lapx_table3_12",),
    "repose_table3_coarsest_16": ("experiment=repose_table1_table2",),
    "repose_table4_blocks_4": ("experiment=repose_table1_table2",),
    "repose_table5_trainable": ("experiment=repose_table1_table2",),
    "repose_table6_stages_1": ("experiment=repose_table1_table2",),
    "repose_table7_input_128_sigma_05": ("experiment=repose_table1_table2",),
}


def renamed(words: list[str]) -> list[str]:
    """The overrides of an old run, under the names of today; what else they say stays as it is."""
    found: list[str] = []
    for word in words:
        key, _, name = word.partition("=")
        if key == "experiment" and name in SAME_TRAINING:
            given = {each.partition("=")[0] for each in words} - {"experiment"}
            found += [each for each in SAME_TRAINING[name] if each.partition("=")[0] not in given]
        else:
            found.append(word)
    return found


def sentence(name: str) -> str:
    """Where the row is that somebody asks for."""
    return (
        f"experiment={name} is the training of another row too and has no file of its own: "
        f"say {' '.join(SAME_TRAINING[name])}."
    )
