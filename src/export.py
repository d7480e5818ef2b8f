"""Door plate of `featherpose.cli.export`."""

from featherpose.cli.app import launch

if __name__ == "__main__":
    launch("export")
