"""`conf/` of the folder where somebody stands overrides the package's, for Hydra to find."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.plugins.search_path_plugin import SearchPathPlugin

from featherpose.cli.own_conf import own_conf
from featherpose.place import CONF


class OwnConf(SearchPathPlugin):
    """Only where featherpose's own configs are the main ones: other programs with Hydra are left alone."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        main = [each.path for each in search_path.get_path() if each.provider == "main"]
        folder = own_conf()
        if folder is not None and main and main[0].removeprefix("file://") == str(CONF):
            query = SearchPathQuery(provider="main")
            search_path.prepend(provider="yours", path=f"file://{folder}", anchor=query)
