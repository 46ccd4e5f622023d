"""The ramp as a data model."""

from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from tmt_dq.core.dqinit import new_groupdq, new_pixeldq
from tmt_dq.core.values import as_flags
from tmt_dq.datamodels.model import TMTDataModel
from tmt_dq.datamodels.schema_resources import PREFIX
from tmt_dq.errors import GeometryError, MaskFormatError, RampFormatError

__all__ = ["TMTRampModel"]

_LARGEST_GROUP = 255


class TMTRampModel(TMTDataModel):
    """A ramp: the reads of one detector in one exposure, and their flags.

    Opening a file reads all of its arrays. For ramps that do not fit into memory there is
    `tmt_dq.apply_dq`, which does not.

    Parameters
    ----------
    init : path, HDUList, dict, ndarray, tuple or DataModel, optional
        A file to open; counts, or a shape (nints, ngroups, ny, nx), for a new ramp.
    **kwargs
        Arrays by name, and the options of ``stdatamodels.DataModel``.

    Attributes
    ----------
    data : ndarray of float32, (nints, ngroups, ny, nx)
        Counts, whatever type the file has them in.
    pixeldq : ndarray of uint32, (ny, nx)
        Flags of each pixel; zeros where the file has none.
    groupdq : ndarray of uint8, (nints, ngroups, ny, nx)
        Flags of each pixel in each group; zeros where the file has none.
    err : ndarray of float32, (nints, ngroups, ny, nx) or None
        Uncertainty of the counts.
    subarr_map : ndarray of uint16, (ny, nx) or None
        Number of the subarray that each pixel belongs to, 0 outside all; in the file of a
        subarray, that of the frame it was read with.
    dq_def : FITS_rec or None
        Definitions of the bits of `pixeldq`.

    Raises
    ------
    RampFormatError
        Raised if a file is not a ramp, or a value is not a flag.
    GeometryError
        Raised if the shapes of the arrays contradict one another.
    """

    data: Any
    pixeldq: Any
    groupdq: Any
    schema_url = PREFIX + "ramp-1.0.0"
    format_error = RampFormatError

    def __init__(self, init: Any = None, **kwargs: Any) -> None:
        super().__init__(init, **kwargs)
        if self.data is None:
            return
        if self.pixeldq is None:
            self.pixeldq = new_pixeldq(self.data.shape[2:])
        if self.groupdq is None:
            self.groupdq = new_groupdq(self.data.shape)
        self.check_shapes()

    def __setattr__(self, attr: str, value: Any) -> None:
        if value is not None and attr in {"pixeldq", "groupdq"}:
            value = _flags(value, attr, where=f"{type(self).__name__}.{attr}")
        super().__setattr__(attr, value)

    def _migrate_hdulist(self, hdulist: fits.HDUList) -> fits.HDUList:
        """Check flags before stdatamodels casts them (stdatamodels' hook)."""
        hdulist = super()._migrate_hdulist(hdulist)
        names = [hdu.name for hdu in hdulist]
        if "SCI" not in names:
            raise RampFormatError(
                f"has no extension SCI; found {', '.join(name or 'no name' for name in names)}",
                where=self._where,
                hint="A ramp has its counts in an image extension SCI.",
            )
        for name in ("PIXELDQ", "GROUPDQ"):
            if name in names:
                _flags(hdulist[name].data, name.lower(), where=f"{self._where}[{name}]")
        return hdulist

    def on_save(self, path: Any = None) -> None:
        """Make sure that the shapes agree (stdatamodels' hook)."""
        super().on_save(path)
        self.check_shapes()

    def check_shapes(self) -> None:
        """Make sure that every array fits the counts.

        Raises
        ------
        GeometryError
            Raised if one does not, with both shapes.
        """
        if self.data is None:
            return
        frame, ramp = self.data.shape[2:], self.data.shape
        shapes = {"pixeldq": frame, "groupdq": ramp, "err": ramp}
        # The file of a subarray may carry the map of the frame that it was read with.
        if not self.meta.subarray.id:
            shapes["subarr_map"] = frame
        for name, expected in shapes.items():
            array = getattr(self, name)
            if array is not None and array.shape != expected:
                raise GeometryError(
                    f"{name} has the shape {array.shape}; the counts {ramp} need {expected}",
                    where=self._where,
                    hint="Flags cannot be moved to another shape without loss.",
                )


def _flags(value: Any, name: str, *, where: str) -> npt.NDArray[Any]:
    """Return flags with the type of their array, if every value fits it."""
    array = np.asarray(value)
    if name == "groupdq" and array.dtype == np.uint8:
        return array
    try:
        flags = as_flags(array, where=where)
    except MaskFormatError as error:
        raise RampFormatError(error.what, where=error.where, hint=error.hint) from error
    if name == "pixeldq":
        return flags
    if flags.size and int(flags.max()) > _LARGEST_GROUP:
        raise RampFormatError(
            f"holds values up to {int(flags.max())}; flags of groups lie between 0 and "
            f"{_LARGEST_GROUP}",
            where=where,
        )
    return flags.astype(np.uint8)
