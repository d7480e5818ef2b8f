"""Door plate of `featherpose.cli.evaluate`."""

from featherpose.cli.app import launch

if __name__ == "__main__":
    launch("evaluate")
