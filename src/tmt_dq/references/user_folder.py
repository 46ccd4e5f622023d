"""The folder in which tmt-dq keeps what it can make again: baseline masks, what was verified."""

import os
from pathlib import Path

from tmt_dq.errors import ConfigError

__all__ = ["HINT", "user_folder"]

HINT = "Set TMT_DQ_CACHE_DIR to a folder that can be written, or name a cache of your own."


def user_folder() -> Path:
    """Return TMT_DQ_CACHE_DIR or, if that is not set, a folder in the user's cache folder."""
    base = os.environ.get("TMT_DQ_CACHE_DIR")
    if not base:
        import platformdirs

        base = platformdirs.user_cache_dir("tmt-dq")
    if not os.path.isabs(base):  # noqa: PTH117 (it may start with an unexpanded ~)
        raise ConfigError(
            f"the cache folder {base!r} is not an absolute path",
            where="TMT_DQ_CACHE_DIR",
            hint=HINT,
        )
    return Path(base)
