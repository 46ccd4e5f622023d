"""Make masks: from an array, or from a file of any kind that people keep bad pixels in."""

import datetime as dt
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy.typing as npt

from tmt_dq.core.dq_def import Unknown
from tmt_dq.core.values import as_flags
from tmt_dq.errors import GeometryError
from tmt_dq.masks.formats import read_flags
from tmt_dq.masks.new_mask import Made, MaskOptions, NewMask
from tmt_dq.masks.reading import Reading

PathLike = str | os.PathLike[str]


def make_mask(  # noqa: PLR0913 - the options of the verb, keyword-only
    dq: npt.ArrayLike,
    output: PathLike | None = None,
    *,
    detector: str,
    instrument: str = "IRIS",
    do_not_use: str | Iterable[str] = "instrument",
    useafter: str | dt.datetime | dt.date | None = None,
    pedigree: str | None = None,
    author: str | None = None,
    description: str | None = None,
    grow: str | None = None,
    history: Iterable[str] = (),
    overwrite: bool = False,
    dry_run: bool = False,
) -> Made:
    """Write a mask from an array of flags.

    Parameters
    ----------
    dq : array_like, (ny, nx)
        Flags of the whole detector, values of `tmt_dq.dqflags.pixel`; any numeric type with whole
        numbers. Not modified.
    output : path, optional
        The mask file to write.
    detector, instrument : str
        Whose pixels they are.
    do_not_use, useafter, pedigree, author, description, grow
        As in `import_mask`.
    history : iterable of str
        How the flags came about, for HISTORY.
    overwrite, dry_run : bool
        As in `import_mask`.

    Returns
    -------
    Made
        What was made.

    Raises
    ------
    MaskFormatError
        Raised if a value is not a flag value.
    GeometryError
        Raised if the array is not as large as the detector.
    ConfigError, UnknownFlagError, OutputError
        Raised as by `import_mask`.

    Examples
    --------
    >>> import numpy as np
    >>> dq = np.zeros((4096, 4096), np.uint32)
    >>> dq[10, 20] = 2048
    >>> made = make_mask(dq, detector="IRIS1", dry_run=True)
    >>> made.counts
    {'GOOD': 16777215, 'DO_NOT_USE': 1, 'HOT': 1}
    """
    keywords = (useafter, pedigree, author, description)
    options = MaskOptions(output, keywords, do_not_use, grow, overwrite=overwrite, dry_run=dry_run)
    new = NewMask("make", instrument, detector, options)
    options.check(())
    new.dq = as_flags(dq, where="dq")
    if new.dq.shape != new.detector.shape:
        raise GeometryError(
            f"has the shape {new.dq.shape}; {new.detector.name} has {new.detector.shape} (rows, "
            "columns)",
            where="dq",
        )
    for line in history:
        new.note(line)
    return new.write()


def import_mask(  # noqa: PLR0913 - the options of the verb, keyword-only
    source: PathLike,
    output: PathLike | None = None,
    *,
    detector: str,
    instrument: str = "IRIS",
    flag: str | None = None,
    bad: int | Literal["nonzero"] | None = None,
    good: int | None = None,
    values: Literal["convention"] | Mapping[int, str] | None = None,
    base: int | None = None,
    at: tuple[int, int] | None = None,
    columns: Sequence[str] | None = None,
    extension: str | int | None = None,
    ignore_columns: Sequence[str] | None = None,
    unknown: Unknown = "error",
    do_not_use: str | Iterable[str] = "instrument",
    useafter: str | dt.datetime | dt.date | None = None,
    pedigree: str | None = None,
    author: str | None = None,
    description: str | None = None,
    grow: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
) -> Made:
    """Make a mask from a file of any kind that people keep bad pixels in.

    FITS images of either polarity, lists of pixels and boxes (text, FITS tables, HST's bad pixel
    tables), DS9 regions: the page *Make a mask* lists them. What a file does not say is asked for,
    never guessed.

    Parameters
    ----------
    source : path
        The file.
    output : path, optional
        The mask file to write; not needed for a dry run.
    detector, instrument : str
        Whose pixels they are.
    flag, bad, good, values, base, at, columns, extension, ignore_columns, unknown
        How the file is to be understood. As in `Reading`.
    do_not_use : "instrument", "keep", or names of flags
        Which flags also set DO_NOT_USE: those that the instrument's description names, none, or
        these. The file records it.
    useafter, pedigree, author, description : optional
        USEAFTER (a date, or date and time, UTC), PEDIGREE, AUTHOR and DESCRIP.
    grow : str, optional
        Flags that the neighbours of their pixels get, too: ``plus:HOT,DEAD`` (the four that share
        an edge) or ``square:HOT`` (all eight); see `tmt_dq.grow_flags`.
    overwrite : bool
        Whether an existing output is replaced.
    dry_run : bool
        Whether everything is done but the writing.

    Returns
    -------
    Made
        What was made, with the number of pixels per flag.

    Raises
    ------
    ConfigError
        Raised if something that the file does not say is not given, or contradicts it.
    MaskFormatError, UnknownFlagError
        Raised if the file cannot be understood, or is of another detector of the instrument.
    GeometryError
        Raised if it does not fit the detector.
    OutputError
        Raised if the output exists, or cannot be written.

    Examples
    --------
    >>> from pathlib import Path
    >>> _ = Path("hot.txt").write_text("1205:1207 877")
    >>> reading = {"flag": "HOT", "base": 1, "columns": ["x", "y"]}
    >>> import_mask("hot.txt", "mask.fits", detector="IRIS1", **reading).counts
    {'GOOD': 16777213, 'DO_NOT_USE': 3, 'HOT': 3}
    """
    path = Path(source)
    reading = Reading(
        flag, bad, good, values, base, at, columns, extension, ignore_columns, unknown
    )
    keywords = (useafter, pedigree, author, description)
    options = MaskOptions(output, keywords, do_not_use, grow, overwrite=overwrite, dry_run=dry_run)
    new = NewMask("import", instrument, detector, options)
    options.check([path])
    mask = read_flags(path, new.target, reading)
    new.dq, new.orientation = mask.dq, mask.orientation
    new.record("import", mask, reading)
    return new.write()
