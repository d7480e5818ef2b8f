"""Which operations TFLite files are made of; docs/formats.md says which of them phones take.

`python scripts/operations.py lapx.tflite`
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path


def operations(path: Path) -> Counter[str]:
    """How often each operation stands in the file."""
    from ai_edge_litert import schema_py_generated as tfl

    content = path.read_bytes()
    if not tfl.Model.ModelBufferHasIdentifier(content, 0):
        raise ValueError(f"{path} is not a TFLite file.")
    names = {number: name for name, number in vars(tfl.BuiltinOperator).items() if name.isupper()}
    model = tfl.ModelT.InitFromObj(tfl.Model.GetRootAsModel(content, 0))
    codes = [max(each.builtinCode, each.deprecatedBuiltinCode) for each in model.operatorCodes]
    nodes = (node for graph in model.subgraphs for node in graph.operators)
    return Counter(names[codes[node.opcodeIndex]] for node in nodes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.tflite")
    for path in parser.parse_args().files:
        try:
            found = operations(path)
        except ImportError:
            sys.exit("This needs ai-edge-litert: pip install 'featherpose[litert]'.")
        except (OSError, ValueError) as error:
            sys.exit(str(error))
        print(f"{path}: {found.total()} operations")
        print("  " + ", ".join(f"{count} {name}" for name, count in found.most_common()))


if __name__ == "__main__":
    main()
