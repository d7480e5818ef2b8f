"""The rest is in pyproject.toml. Here: conf/ lies at the top of the repository and travels as featherpose/conf."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """An editable installation reads conf/ where it lies."""

    def run(self):
        super().run()
        if not self.editable_mode:
            conf = Path(self.build_lib, "featherpose", "conf")
            shutil.rmtree(conf, ignore_errors=True)  # what an older build left
            shutil.copytree("conf", conf, ignore=shutil.ignore_patterns("local", "__pycache__"))


setup(cmdclass={"build_py": BuildWithConfigs})
