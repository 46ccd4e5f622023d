"""The ramp as a data model."""

from collections import ChainMap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from tmt_dq.core.values import as_flags
from tmt_dq.datamodels import nddata
from tmt_dq.datamodels.model import TMTDataModel
from tmt_dq.datamodels.nddata import MaskFlags
from tmt_dq.datamodels.nodes import format_errors
from tmt_dq.datamodels.schema_resources import PREFIX
from tmt_dq.errors import ConfigError, GeometryError, RampFormatError
from tmt_dq.fits.layout import agreed

if TYPE_CHECKING:
    from astropy import nddata as nddata_package

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
            self.pixeldq = np.zeros(self.data.shape[2:], np.uint32)
        if self.groupdq is None:
            self.groupdq = np.zeros(self.data.shape, np.uint8)
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
            found = ", ".join(name or "no name" for name in names)
            hint = "A ramp has its counts in an image extension SCI."
            raise RampFormatError(
                f"has no extension SCI; found {found}", where=self._where, hint=hint
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
        """Make sure that every array fits the counts; GeometryError with both shapes if not."""
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
                what = f"{name} has the shape {array.shape}; the counts {ramp} need {expected}"
                hint = "Flags cannot be moved to another shape without loss."
                raise GeometryError(what, where=self._where, hint=hint)

    def to_nddata(
        self, *, mask_flags: MaskFlags = "DO_NOT_USE", unit: Any = None
    ) -> "nddata_package.NDDataArray":
        """Return the whole ramp as astropy's NDData, with mask and flags.

        Parameters
        ----------
        mask_flags : str or iterable of str, optional
            Flags of a pixel, or of a sample, by which a sample counts as masked; "any" for all,
            None for no mask.
        unit : str or Unit, optional
            Unit of the counts. By default BUNIT or, where there is none, DN.

        Returns
        -------
        astropy.nddata.NDDataArray
            ``data`` (nints, ngroups, ny, nx) is the model's own array, not a copy. ``mask`` is
            True where a sample is masked, ``flags`` uint32: the flags of PIXELDQ and GROUPDQ
            together. Where no sample has flags of its own both are read-only views of one frame.
            ``uncertainty`` is that of `err`, if there is one; ``wcs`` is None, for a frame's world
            coordinates are of two axes.

        Raises
        ------
        UnknownFlagError
            Raised if a name is not in the convention.
        ConfigError
            Raised if there are no counts, or the unit is not known.
        GeometryError
            Raised if the shapes of the arrays contradict one another.
        """
        from astropy.nddata import NDDataArray

        return NDDataArray(**self._export((), mask_flags, unit))

    def to_ccddata(
        self,
        *,
        group: int = -1,
        integration: int = 0,
        mask_flags: MaskFlags = "DO_NOT_USE",
        unit: Any = None,
    ) -> "nddata_package.CCDData":
        """Return one read as astropy's CCDData, with mask and flags.

        Parameters
        ----------
        group, integration : int
            0-based numbers of the read; negative ones count from the end.
        mask_flags, unit : optional
            As for `to_nddata`.

        Returns
        -------
        astropy.nddata.CCDData
            ``data`` (ny, nx) is a view of the model's own array. ``mask`` and ``flags`` as of
            `to_nddata`; ``wcs`` is that of the header, where it has one; ``header`` the keywords.

        Raises
        ------
        GeometryError
            Raised if there is no such read, or shapes contradict one another.
        UnknownFlagError, ConfigError
            Raised as by `to_nddata`.
        """
        from astropy.nddata import CCDData

        shape = () if self.data is None else self.data.shape
        place = (integration, group)
        for name, number, size in zip(("integration", "group"), place, shape[:2], strict=False):
            if not -size <= number < size:
                what = f"there is no {name} {number}; the ramp has {size}, counted from 0"
                raise GeometryError(what, where=self._where)
        export = self._export(place, mask_flags, unit)
        return CCDData(**export, wcs=nddata.frame_wcs(self.image_keywords(), export["data"].shape))

    def _export(self, place: tuple[int, ...], mask_flags: MaskFlags, unit: Any) -> dict[str, Any]:
        """Return what NDData and CCDData are made of."""
        from astropy.nddata import StdDevUncertainty

        where = f"{type(self).__name__}.{'to_ccddata' if place else 'to_nddata'}"
        if self.data is None:
            raise ConfigError("there are no counts", where=where)
        self.check_shapes()
        value = nddata.mask_value(mask_flags, where)
        flags, mask = nddata.flags_and_mask(self.pixeldq, self.groupdq[place], value)
        err, cards = self.err, self.image_keywords()
        return {
            "data": self.data[place],
            "mask": mask,
            "flags": flags,
            "unit": nddata.unit_of(cards, unit, where),
            "uncertainty": None if err is None else StdDevUncertainty(err[place], copy=False),
            # A header of SCI's own wins where only people read it (FITS' convention INHERIT).
            "meta": nddata.header(self.fits_keywords() | self._sci_keywords()),
        }

    def image_keywords(self) -> Mapping[str, Any]:
        """Return the keywords of the primary header and of SCI's.

        To ask for one of which they have different values is a RampFormatError.
        """
        return _Keywords(self._where, self.fits_keywords(), self._sci_keywords())

    def _sci_keywords(self) -> dict[str, Any]:
        extra = self.instance.get("extra_fits", {}).get("SCI", {}).get("header", [])
        return {keyword: value for keyword, value, _ in extra}


class _Keywords(ChainMap[str, Any]):
    """Keywords of the primary header and of SCI's, which must not contradict each other."""

    def __init__(self, where: object, primary: dict[str, Any], sci: dict[str, Any]) -> None:
        super().__init__(primary, sci)
        self._where = where

    def __getitem__(self, keyword: str) -> Any:
        values = (header.get(keyword) for header in self.maps)
        return agreed(keyword, zip(("primary HDU", "SCI"), values, strict=True), self._where)


def _flags(value: Any, name: str, *, where: str) -> npt.NDArray[Any]:
    """Return flags with the type of their array, if every value fits it."""
    array = np.asarray(value)
    if name == "groupdq" and array.dtype == np.uint8:
        return array
    with format_errors(RampFormatError, where):
        flags = as_flags(array, where=where)
    if name == "pixeldq":
        return flags
    largest = int(flags.max(initial=0))
    if largest > _LARGEST_GROUP:
        what = f"holds values up to {largest}; flags of groups lie between 0 and {_LARGEST_GROUP}"
        raise RampFormatError(what, where=where)
    return flags.astype(np.uint8)
