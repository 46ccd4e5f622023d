"""The bad-pixel mask as a data model."""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from tmt_dq.core.counts import count_usable
from tmt_dq.core.dq_def import translation
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.datamodels import nddata
from tmt_dq.datamodels.definitions import (
    Flags,
    convention_table,
    defined_bits,
    flags_2d,
    translate_flags,
    translate_hdus,
)
from tmt_dq.datamodels.model import TMTDataModel
from tmt_dq.datamodels.nddata import MaskFlags
from tmt_dq.datamodels.pixels import flag_value, pixel_table, placed_window, positions
from tmt_dq.datamodels.schema_resources import PREFIX
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError
from tmt_dq.instruments import policy_flags

if TYPE_CHECKING:
    from astropy import nddata as nddata_package
    from astropy import table as astropy_table

_log = logging.getLogger(__name__)

_DO_NOT_USE = np.uint32(PIXEL["DO_NOT_USE"])
_TOGETHER = "Give flags and definitions together: TMTMaskModel(dq=flags, dq_def=table)."


class TMTMaskModel(TMTDataModel):
    """A bad-pixel mask: the flags of each pixel of a detector, or of a part of it.

    Parameters
    ----------
    init : path, HDUList, dict, ndarray, tuple or DataModel, optional
        A file to open; flags, or a shape (ny, nx), for a new mask; nothing for an empty one.
    dq : array_like, (ny, nx), optional
        Flags. Any numeric type, if every value is a whole number that fits uint32.
    dq_def : structured array, optional
        What the bits of the flags given with it mean: columns BIT, VALUE, NAME, DESCRIPTION.
        Without it they are the bits of `tmt_dq.dqflags.pixel`.
    **kwargs
        Options of ``stdatamodels.DataModel``.

    Attributes
    ----------
    dq : ndarray of uint32, (ny, nx)
        Flags of the convention, whatever bits the file used.
    dq_def : FITS_rec
        Definitions of the convention's bits, None until the mask is saved.

    Raises
    ------
    MaskFormatError
        Raised if a file is not a mask, or a value is not a flag.
    UnknownFlagError
        Raised if DQ_DEF has unknown names, or DQ has bits that DQ_DEF does not define.
    GeometryError
        Raised if an array is not 2-D.

    Examples
    --------
    >>> mask = TMTMaskModel((4, 6))
    >>> mask.meta.instrument.name = "IRIS"
    >>> mask.meta.instrument.detector = "IRIS1"
    >>> mask.flag_pixels("DEAD", yx=[(0, 1), (3, 5)])
    2
    >>> mask.dq[3, 5]  # DEAD, and DO_NOT_USE by the instrument's policy
    np.uint32(1025)
    """

    dq: Any
    schema_url = PREFIX + "mask-1.0.0"
    format_error = MaskFormatError

    def __init__(self, init: Any = None, *, dq_def: Any = None, **kwargs: Any) -> None:
        super().__init__(init, **kwargs)
        if dq_def is not None:
            if self.dq is None or not (init is None or isinstance(init, np.ndarray)):
                what = "dq_def has the meaning of given flags, and none were given with it"
                raise ConfigError(what, where=type(self).__name__, hint=_TOGETHER)
            self.dq = self._translated(self.dq, dq_def)

    def get_primary_array_name(self) -> str:
        """Return the name of the array whose shape is the model's."""
        return "dq"

    def __setattr__(self, attr: str, value: Any) -> None:
        where = f"{type(self).__name__}.{attr}"
        if value is not None and attr == "dq":
            value = flags_2d(value, where=where)
        elif value is not None and attr == "dq_def":
            meaning = translation(defined_bits(value, where=where), where=where)
            if any(bit != flag for bit, flag in meaning.items()):
                what = "dq_def gives bits another meaning than the convention, in which dq is"
                raise MaskFormatError(what, where=where, hint=_TOGETHER)
            value = convention_table()
        super().__setattr__(attr, value)

    def _translated(self, dq: Any, table: Any) -> Flags:
        flags = flags_2d(dq, where=f"{type(self).__name__}.dq")
        return flags if table is None else translate_flags(flags, table, where=self._where)

    def _migrate_hdulist(self, hdulist: fits.HDUList) -> fits.HDUList:
        """Check DQ before stdatamodels casts it, and translate it (stdatamodels' hook)."""
        return translate_hdus(super()._migrate_hdulist(hdulist), where=self._where)

    def on_init(self, init: Any) -> None:
        """Hold trees of dicts, ASDF files and other models to the same rules as FITS files."""
        super().on_init(init)
        dq, table = self._instance.get("dq"), self._instance.get("dq_def")
        # A model of jwst has translated its flags, and keeps the definitions for its file.
        is_jwst = any(kind.__module__.startswith("stdatamodels.jwst.") for kind in type(init).mro())
        if dq is not None:
            self.dq = self._translated(dq, None if is_jwst else table)
        if table is not None:
            super().__setattr__("dq_def", convention_table())

    def on_save(self, path: Any = None) -> None:
        """Fill in what a mask file needs; what only its keeper knows is left to them.

        Flags stay as they are: pixels that steps will use in spite of theirs are counted in a
        warning.
        """
        super().on_save(path)
        if self.dq is None:
            hint = "Set dq, zeros for a clean mask."
            raise MaskFormatError("has no flags to save", where=self._where, hint=hint)
        window, subarray = self.window, self.meta.subarray
        instrument = self._description
        unknown = None if self.meta.instrument.name else "TMT"
        for node, attr, value in (
            (self.meta, "telescope", instrument.telescope if instrument else unknown),
            (self.meta, "reftype", instrument.reftype.upper() if instrument else "MASK"),
            (subarray, "name", "GENERIC"),
            (subarray, "xstart", window.xstart),
            (subarray, "ystart", window.ystart),
            (subarray, "xsize", window.nx),
            (subarray, "ysize", window.ny),
        ):
            if getattr(node, attr) is None and value is not None:
                setattr(node, attr, value)
        super().__setattr__("dq_def", convention_table())
        lacking, flagged = count_usable(self.dq)
        if lacking:
            name = self.meta.filename or self._where
            what = "%s: %s of %s flagged pixels lack DO_NOT_USE: steps will use them"
            _log.warning(what, name, f"{lacking:,}", f"{flagged:,}")

    @property
    def window(self) -> Window:
        """The detector pixels that the mask covers.

        Raises
        ------
        GeometryError
            Raised if there are no flags yet, or ``meta.subarray`` contradicts their shape.
        """
        if self.dq is None:
            raise GeometryError("has no flags, and so no size", where=self._where)
        return placed_window(self.meta.subarray, self.dq.shape, self._where)

    def flag_pixels(
        self,
        flags: str | Iterable[str],
        *,
        y: Any = None,
        x: Any = None,
        yx: Any = None,
        fits_xy: Any = None,
        do_not_use: str | Iterable[str] = "instrument",
    ) -> int:
        """Add flags, by name, to a list of pixels, and to nothing else.

        ``dq[list_of_pairs] = value`` flags whole rows: so NumPy indexes.

        Parameters
        ----------
        flags : str or iterable of str
            One or more names of `tmt_dq.dqflags.pixel`, such as "DEAD" or ["HOT", "DO_NOT_USE"].
        y, x : array_like of int, (n,), optional
            0-based rows and columns in the array, as from ``np.nonzero``.
        yx : array_like of int, (n, 2), optional
            0-based pairs (row, column), in NumPy's order.
        fits_xy : array_like of int, (n, 2), optional
            1-based pairs (column, row), in the order of FITS and DS9. They too count from the
            array's first pixel, not the detector's, if the mask is a subarray.
        do_not_use : "instrument", "keep", or names of flags
            Flags that set DO_NOT_USE too: those that the description of the mask's instrument
            (``meta.instrument.name``) names, if it has one; none; or these.

        Returns
        -------
        int
            Number of different pixels in the list.

        Raises
        ------
        UnknownFlagError
            Raised if a name is not in the convention.
        ConfigError
            Raised if no flag or not exactly one form of positions is given, or positions are not
            whole numbers.
        GeometryError
            Raised if the list has the wrong shape or leaves the array; nothing is flagged then.

        Examples
        --------
        >>> mask = TMTMaskModel((4, 6))
        >>> mask.flag_pixels("HOT", yx=[(0, 1), (3, 5)])
        2
        >>> mask.flag_pixels("DO_NOT_USE", fits_xy=[(2, 1)])
        1
        >>> mask.dq[0, 1]
        np.uint32(2049)
        """
        index, count, value = self._addressed(
            "flag_pixels", flags, y=y, x=x, yx=yx, fits_xy=fits_xy
        )
        demanding = PIXEL.encode(policy_flags(do_not_use, self._description))
        self.dq[index] |= value | (_DO_NOT_USE if value & demanding else 0)
        return count

    def clear_pixels(
        self,
        flags: str | Iterable[str],
        *,
        y: Any = None,
        x: Any = None,
        yx: Any = None,
        fits_xy: Any = None,
    ) -> int:
        """Take flags away from a list of pixels; other flags of theirs stay.

        Parameters
        ----------
        flags : str or iterable of str
            One or more names of `tmt_dq.dqflags.pixel`.
        y, x, yx, fits_xy : array_like of int, optional
            The pixels, as for `flag_pixels`.

        Returns
        -------
        int
            Number of different pixels in the list.

        Raises
        ------
        UnknownFlagError, ConfigError, GeometryError
            Raised as by `flag_pixels`.
        """
        index, count, value = self._addressed(
            "clear_pixels", flags, y=y, x=x, yx=yx, fits_xy=fits_xy
        )
        self.dq[index] &= ~value
        return count

    def to_table(self) -> "astropy_table.Table":
        """Return the flagged pixels as a table of astropy.

        Returns
        -------
        astropy.table.Table
            Columns x and y, 1-based detector positions; flag, the names with commas between them;
            value, uint32. Row by row. Written as ECSV it is a list that `tmt_dq.import_mask`
            reads.

        Raises
        ------
        GeometryError
            Raised if there are no flags yet.

        Examples
        --------
        >>> mask = TMTMaskModel((4, 6))
        >>> mask.flag_pixels("DEAD", yx=[(0, 1)])
        1
        >>> mask.to_table()["x", "y", "flag"].pformat(show_unit=False)
        [' x   y  flag', '--- --- ----', '  2   1 DEAD']
        """
        instrument = self.meta.instrument
        return pixel_table(self.dq, self.window, instrument.name, instrument.detector)

    def to_nddata(self, *, mask_flags: MaskFlags = "DO_NOT_USE") -> "nddata_package.NDDataArray":
        """Return the mask as astropy's NDData: the flags, and which of them mask a pixel.

        Parameters
        ----------
        mask_flags : str or iterable of str, optional
            Flags by which a pixel counts as masked; "any" for all, None for no mask.

        Returns
        -------
        astropy.nddata.NDDataArray
            ``data`` and ``flags`` (ny, nx) are the model's own array `dq`, uint32; ``mask`` is
            True where a pixel is masked.

        Raises
        ------
        UnknownFlagError
            Raised if a name is not in the convention.
        ConfigError
            Raised if no flag is named.
        GeometryError
            Raised if there are no flags yet.
        """
        from astropy.nddata import NDDataArray

        return NDDataArray(**self._export("to_nddata", mask_flags))

    def to_ccddata(self, *, mask_flags: MaskFlags = "DO_NOT_USE") -> "nddata_package.CCDData":
        """Return the mask as astropy's CCDData: as `to_nddata`, with the keywords as header."""
        from astropy.nddata import CCDData

        return CCDData(**self._export("to_ccddata", mask_flags))

    def _export(self, method: str, mask_flags: MaskFlags) -> dict[str, Any]:
        _ = self.window  # which raises what is wrong with the shape
        value = nddata.mask_value(mask_flags, f"{type(self).__name__}.{method}")
        return {
            "data": self.dq,
            "mask": nddata.mask_of(self.dq, value),
            "flags": self.dq,
            "unit": "",
            "meta": nddata.header(self.fits_keywords()),
        }

    def _addressed(
        self, method: str, flags: str | Iterable[str], **forms: Any
    ) -> tuple[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]], int, np.uint32]:
        """Return the index of a list of pixels, how many different ones, and the flags' value."""
        where = f"{type(self).__name__}.{method}"
        if self.dq is None:
            hint = "Give the mask a size first: mask.dq = np.zeros((4096, 4096))."
            raise ConfigError("there are no flags yet", where=where, hint=hint)
        value = flag_value(flags, where)
        index = positions(self.dq.shape, where=where, **forms)
        different = np.unique(np.ravel_multi_index(index, self.dq.shape))
        return index, int(different.size), value
