"""Door plate of `featherpose.cli.predict`."""

from featherpose.cli.app import launch

if __name__ == "__main__":
    launch("predict")
