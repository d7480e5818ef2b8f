"""A checkpoint for the journey: weights and what describes them, without what only going on needs.

python scripts/light_checkpoint.py runs/train/RUN/checkpoints/best.ckpt light.ckpt
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))


def main() -> int:
    from featherpose.errors import PoseError
    from featherpose.training.checkpoint_io import write_light

    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        write_light(*sys.argv[1:])
    except PoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{sys.argv[2]}: {Path(sys.argv[2]).stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
