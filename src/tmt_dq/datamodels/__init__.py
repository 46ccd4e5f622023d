"""Data models: the FITS files as Python objects.

`TMTMaskModel` is a bad-pixel mask, `TMTRampModel` a ramp. Both are stdatamodels' ``DataModel`` with
TMT's schemas, refuse what does not fit instead of dropping it, and are written whole or not at all.

The names are imported when they are first used: asdf imports this package to find the schemas.
"""

import importlib
import sys
from typing import Any

_HOMES = {
    "TMTDataModel": "tmt_dq.datamodels.model",
    "TMTMaskModel": "tmt_dq.datamodels.mask",
    "TMTRampModel": "tmt_dq.datamodels.ramp",
}

__all__ = [*sorted(_HOMES), "is_data_model"]  # noqa: PLE0604 - sorted names


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)


def is_data_model(thing: object) -> bool:
    """Whether something is a data model of stdatamodels, which is not imported to find out.

    Parameters
    ----------
    thing : object
        Anything.

    Returns
    -------
    bool
        False also where stdatamodels was not imported: then nobody can have made a model.
    """
    loaded = sys.modules.get("stdatamodels")
    return loaded is not None and isinstance(thing, loaded.DataModel)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
