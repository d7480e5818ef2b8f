"""Door plate of `featherpose.cli.benchmark`."""

from featherpose.cli.app import launch

if __name__ == "__main__":
    launch("benchmark")
