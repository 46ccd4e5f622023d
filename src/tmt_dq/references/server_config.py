"""The configuration that stock crds expects from a server, for caches that never saw one."""

import os
import pprint
from collections.abc import MutableMapping
from pathlib import Path

from tmt_dq.errors import ConfigError, SelectionError
from tmt_dq.references.cache import open_cache

__all__ = ["provide_config", "server_config"]


def server_config(observatory: str, context: str) -> str:
    """Return the text of a ``server_config``, with the context that crds uses by default."""
    config = {
        "bad_files": "",
        "bad_files_list": [],
        "edit_context": context,
        "force_remote_mode": False,
        "last_synced": "never: this cache has no server",
        "latest_context": context,
        "observatory": observatory,
        "operational_context": context,
        "server": "none",
    }
    return f"{pprint.pformat(config)}\n"


def provide_config(folder: Path, observatory: str, environ: MutableMapping[str, str]) -> None:
    """Let crds find a configuration, where the cache has none, in a folder outside of the cache.

    Without its ``server_config`` crds ends the process, whatever the tool; TMT's published cache
    has none. CRDS_CFGPATH is set in `environ` if need be.
    """
    try:
        cache = open_cache(None, observatory, environ)
        if cache.server_config():
            return
        context = cache.context(None, environ)
    except (ConfigError, SelectionError):
        # The tool may not need a context, and says itself what it misses.
        return
    config = folder / observatory
    config.mkdir()
    (config / "server_config").write_text(server_config(observatory, context), "utf-8")
    (config / "ref_cache_subdir_mode").write_text(cache.subdir_mode(), "utf-8")
    environ.pop("CRDS_CFGPATH_SINGLE", None)
    environ["CRDS_CFGPATH"] = os.fspath(folder)
