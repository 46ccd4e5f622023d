"""Data-quality flags by name: `pixel` for PIXELDQ and masks, `group` for GROUPDQ.

Examples
--------
>>> from tmt_dq import dqflags
>>> dqflags.pixel["HOT"]
2048
>>> dqflags.pixel.decode(2049)
('DO_NOT_USE', 'HOT')
>>> import numpy as np
>>> dqflags.pixel.count(np.array([0, 2048, 2049], np.uint32))
{'GOOD': 1, 'DO_NOT_USE': 1, 'HOT': 2}
"""

from tmt_dq.core.flags import GROUP as group  # noqa: N811 - public names
from tmt_dq.core.flags import PIXEL as pixel  # noqa: N811
from tmt_dq.core.flags import Flag, FlagTable

__all__ = ["Flag", "FlagTable", "group", "pixel"]
