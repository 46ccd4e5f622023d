"""For scripts of the old fork: make ``from jwst.datamodels import TMTMaskModel`` work.

The fork kept TMT's models inside the package jwst. After ``import tmt_dq.jwst_compat`` the stock
package has them too, as the very classes of `tmt_dq.datamodels`:

    import tmt_dq.jwst_compat
    from jwst.datamodels import TMTMaskModel

Nothing else of jwst is changed, and nothing is without this import.
"""

import importlib

from tmt_dq.datamodels import TMTMaskModel, TMTRampModel

__all__ = ["TMTMaskModel", "TMTRampModel"]


def _install() -> None:
    try:
        models = importlib.import_module("jwst.datamodels")
    except ModuleNotFoundError as error:
        # Only jwst itself may be missing; what jwst fails to import is its own affair.
        if error.name not in {"jwst", "jwst.datamodels"}:
            raise
        raise ImportError(
            "tmt_dq.jwst_compat adds TMT's data models to the package jwst, which is not "
            "installed.\nWrite `from tmt_dq.datamodels import TMTMaskModel` instead (nothing else "
            "is needed), or install jwst.",
            name="jwst",
        ) from None
    for model in (TMTMaskModel, TMTRampModel):
        setattr(models, model.__name__, model)
    names = getattr(models, "__all__", None)
    if isinstance(names, list):
        names.extend(name for name in __all__ if name not in names)


_install()
