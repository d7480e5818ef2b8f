"""Door plate of `featherpose.cli.train`."""

from featherpose.cli.app import launch

if __name__ == "__main__":
    launch("train")
