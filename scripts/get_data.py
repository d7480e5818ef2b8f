"""Door plate of `featherpose data get`; works without an installation too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from featherpose.cli.app import main

if __name__ == "__main__":
    main("data", "get", *sys.argv[1:])
