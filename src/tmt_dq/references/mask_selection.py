"""Which mask belongs to an exposure, and why."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tmt_dq.exposures.ramp import read_selectors
from tmt_dq.fits.file import open_input

if TYPE_CHECKING:
    from tmt_dq.references.selection import Selection

__all__ = ["select_mask"]


def select_mask(
    ramp: str | os.PathLike[str],
    *,
    context: str | None = None,
    crds_path: str | os.PathLike[str] | None = None,
    verify: bool | None = None,
) -> "Selection":
    """Find the MASK reference file of an exposure by CRDS' rules.

    Only the exposure's headers are read, and no network is used.

    Parameters
    ----------
    ramp : path
        FITS file of the exposure.
    context : str, optional
        Name of the CRDS context (``tmt_0001.pmap``). By default ``CRDS_CONTEXT``, or else the
        newest one of the cache.
    crds_path : path, optional
        CRDS cache. By default ``CRDS_PATH``, or else the cache that comes with tmt-dq.
    verify : bool, optional
        Whether the mask must be the file whose sha256 the cache has on record. By default yes,
        unless ``TMT_DQ_VERIFY`` is 0.

    Returns
    -------
    tmt_dq.references.selection.Selection
        The file, and what each rule key required and found.

    Raises
    ------
    RampFormatError
        Raised if the file is not FITS or lacks a keyword that the rules look at.
    SelectionError
        Raised if no rule matches, or the reference is not in the cache or not as it was delivered.

    Examples
    --------
    >>> from tmt_dq import select_mask
    >>> selection = select_mask("iris_0001_uncal.fits")
    >>> selection.context, selection.path.name
    ('tmt_0100.pmap', 'tmt_iris_mask_0101.fits')
    """
    from tmt_dq.references.selection import select_reference

    path = Path(ramp)
    with open_input(path) as file:
        instrument, selectors = read_selectors(file)
        return select_reference(
            selectors,
            instrument=instrument,
            crds_path=None if crds_path is None else Path(crds_path),
            context=context,
            where=path,
            verify=verify,
        )
