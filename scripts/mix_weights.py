"""Weights between trainings of one network, in shares that add up to 1, as a checkpoint.

python scripts/mix_weights.py mixed.ckpt runs/train/RUN=0.5 light=0.5
python src/evaluate.py checkpoint=mixed.ckpt

The first source is a run or a checkpoint; the others are whatever init= takes for its network.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))


def main() -> int:
    from featherpose.errors import PoseError
    from featherpose.training.mixing import write_mixed

    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    target, *words = sys.argv[1:] or [""]
    try:
        shares = {name: float(share) for name, _, share in (w.rpartition("=") for w in words)}
    except ValueError:
        shares = {}
    if len(shares) < 2 or len(shares) < len(words) or not all(shares):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        write_mixed(target, shares)
    except PoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{target}: " + " + ".join(f"{share:g} {name}" for name, share in shares.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
