"""Summary of a mask's or ramp's flags: counts, areas, clusters, bad rows and columns."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tmt_dq.core.clusters import Connectivity, find_clusters
from tmt_dq.core.counts import FlagCount, Planes, count_flags, sort_pixels
from tmt_dq.core.dq_def import Unknown
from tmt_dq.core.flags import PIXEL
from tmt_dq.errors import ConfigError
from tmt_dq.exposures.record import SOFTWARE
from tmt_dq.files.url_arguments import staged
from tmt_dq.report import areas
from tmt_dq.report.areas import Area, BadLine, area_table, line_table
from tmt_dq.report.clusters import (
    ClusterSizes,
    LargeCluster,
    cluster_sizes,
    largest_clusters,
    largest_table,
    size_table,
)
from tmt_dq.report.image import FlagImage, Source, as_image
from tmt_dq.report.page import write_page
from tmt_dq.report.pictures import summary_figure
from tmt_dq.report.regions import LIMIT, write_regions
from tmt_dq.report.report import HIDDEN, DrawnReport
from tmt_dq.tables import Table, flag_table, number, share

__all__ = ["LINE_FRACTION", "Summary", "summarize"]

LINE_FRACTION = 0.5
"""From which share of defects a row or column is called bad. LSST's cp_pipe fills a column from
``badPixelsToFillColumnThreshold`` = 1000 bad pixels of an amplifier's 2000 rows on: one half."""

_CAPTION = (
    "Map of the flagged pixels, density of the defects, pixels per flag, defects by area, "
    "sizes of clusters"
)
_NO_LIGHT = (
    "pixels with REFERENCE_PIXEL or NON_SCIENCE are left out. Positions are FITS detector pixels, "
    "the first of which is 1, 1."
)


@dataclass(frozen=True)
class Summary(DrawnReport):
    """What `summarize` found.

    Attributes
    ----------
    label, kind : str
        The file's name, and "mask", "ramp" or "array".
    path : Path, str or None
        The file.
    instrument, detector : str or None
        Whose flags they are, where the file names them.
    place : str
        The detector pixels in FITS terms.
    pixels, good, flagged : int
        All pixels, those without and with any flag.
    sky : int
        Pixels that can see light: neither REFERENCE_PIXEL nor NON_SCIENCE.
    defects, do_not_use : int
        Of these, those with a flag (of `defect_flags`, if given), and those with DO_NOT_USE.
    defect_flags : tuple of str
        The flags that count as defects; () for all.
    flags : tuple of FlagCount
        Every flag that occurs, lowest bit first.
    quadrants, channels : tuple of Area
        Parts of the detector; no channels where their number is not known.
    connectivity : int
        Which pixels are neighbours in a cluster.
    clusters : int
        Connected groups of defects.
    cluster_sizes : tuple of ClusterSizes
        How many of which size.
    largest_clusters : tuple of LargeCluster
        The largest, largest first.
    line_fraction : float
        From which share of defects a line is bad.
    bad_rows, bad_columns : tuple of BadLine
        These lines.
    notes : tuple of str
        Remarks, for example on bits that were left out.
    """

    label: str
    kind: str
    path: Path | str | None
    instrument: str | None
    detector: str | None
    place: str
    pixels: int
    good: int
    flagged: int
    sky: int
    defects: int
    do_not_use: int
    defect_flags: tuple[str, ...]
    flags: tuple[FlagCount, ...]
    quadrants: tuple[Area, ...]
    channels: tuple[Area, ...]
    connectivity: int
    clusters: int
    cluster_sizes: tuple[ClusterSizes, ...]
    largest_clusters: tuple[LargeCluster, ...]
    line_fraction: float
    bad_rows: tuple[BadLine, ...]
    bad_columns: tuple[BadLine, ...]
    notes: tuple[str, ...]
    image: FlagImage = field(repr=False, compare=False, metadata=HIDDEN)

    def headline(self) -> Sequence[str]:
        """Return what it is and how much of it is flagged."""
        owner = " ".join(name for name in (self.instrument, self.detector) if name)
        what = self.kind if self.kind == self.label else f"{self.label}: {self.kind}"
        only = f" ({', '.join(self.defect_flags)})" if self.defect_flags else ""
        flagged = (
            f"{number(self.flagged)} of {number(self.pixels)} pixels flagged "
            f"({share(self.flagged / self.pixels)}), {number(self.good)} good"
        )
        sky = max(self.sky, 1)
        defects = (
            f"{number(self.sky)} can see light; of these {number(self.defects)} are defects{only} "
            f"({share(self.defects / sky)}), {number(self.do_not_use)} have DO_NOT_USE "
            f"({share(self.do_not_use / sky)})"
        )
        place = f"{what}{' of ' if owner else ''}{owner}, {self.place}"
        return (place, flagged, defects, *self.notes)

    def tables(self) -> Sequence[Table]:
        """Return flags, areas, clusters and bad lines."""
        counts = {flag.name: flag.pixels for flag in self.flags} | {"GOOD": self.good}
        together = {flag.name: flag.do_not_use for flag in self.flags}
        tables = [
            flag_table(counts, self.pixels, {"with DO_NOT_USE": together}),
            area_table("Quadrants", self.quadrants),
            area_table("Readout channels", self.channels),
            size_table(self.cluster_sizes, clusters=self.clusters, connectivity=self.connectivity),
            largest_table(self.largest_clusters),
            line_table("row", self.bad_rows, self.line_fraction),
            line_table("column", self.bad_columns, self.line_fraction),
        ]
        return [table for table in tables if table.rows]

    def figure(self) -> Any:
        """Draw the detector map, the density of defects, flags and channels."""
        parts, areas = (self.quadrants, "quadrant")
        if len(self.channels) > 1:
            parts, areas = self.channels, "readout channel"
        return summary_figure(
            self._planes(),
            self.image.window,
            title=self.headline()[0],
            flags={flag.name: flag.pixels for flag in self.flags},
            shares={part.name.removeprefix("channel "): part.fraction for part in parts},
            areas=areas,
            sizes={size.label: size.clusters for size in self.cluster_sizes},
        )

    def write_html(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write a page that needs no other file: its picture and style are inside.

        Parameters
        ----------
        path : path
            The page to write.
        overwrite : bool
            Whether an existing file is replaced.

        Returns
        -------
        Path
            `path`.

        Raises
        ------
        ConfigError
            Raised if matplotlib is not installed.
        OutputError
            Raised if the page exists or cannot be written.
        """
        kinds = f"one of the flags {', '.join(self.defect_flags)}"
        defect = f"A defect is a pixel with {kinds if self.defect_flags else 'any flag'}"
        origin = f"{self.path}, " if self.path else ""
        return write_page(
            Path(path),
            self,
            title=self.label,
            caption=_CAPTION,
            footer=(f"{defect} that can see light: {_NO_LIGHT}", f"{origin}made by {SOFTWARE}."),
            overwrite=overwrite,
        )

    def write_regions(
        self, path: str | os.PathLike[str], *, limit: int | None = None, overwrite: bool = False
    ) -> int:
        """Write boxes around flagged pixels for DS9.

        Parameters
        ----------
        path : path
            The region file to write.
        limit : int, optional
            At most so many boxes; what must not be used, and the largest, first.
        overwrite : bool
            Whether an existing file is replaced.

        Returns
        -------
        int
            Boxes that were left out; a comment in the file has the number too.

        Raises
        ------
        ConfigError
            Raised if `limit` is less than 1.
        OutputError
            Raised if the file exists or cannot be written.
        """
        limit = LIMIT if limit is None else limit
        planes = self._planes()
        return write_regions(Path(path), self.image, planes, limit=limit, overwrite=overwrite)

    def _planes(self) -> Planes:
        return sort_pixels(self.image.dq, PIXEL.encode(self.defect_flags) or PIXEL.mask)


@staged("source")
def summarize(
    source: Source,
    *,
    channels: int | None = None,
    defect_flags: str | Iterable[str] | None = None,
    connectivity: Connectivity = 8,
    line_fraction: float = LINE_FRACTION,
    unknown: Unknown = "error",
) -> Summary:
    """Describe the flags of a mask or ramp.

    Parameters
    ----------
    source : path, URL, Mask or array_like of integers, (ny, nx)
        FITS file of a mask or of an initialized ramp, plain or compressed; or the flags.
    channels : int, optional
        Readout channels of the full frame. By default those of the instrument's description.
    defect_flags : str or iterable of str, optional
        Flags that count as defects. By default all; pixels with REFERENCE_PIXEL or NON_SCIENCE
        never do, because their border would be one cluster and eight bad lines.
    connectivity : {8, 4}
        Which pixels are neighbours in a cluster: 8 counts corners, as photutils and SExtractor do.
    line_fraction : float
        From which share of defects a row or column is bad, 0 to 1. The default is what LSST's
        cp_pipe fills columns from: 1000 of 2000 rows.
    unknown : {"error", "drop"}
        What to do about names and bits without a meaning.

    Returns
    -------
    Summary
        What was found.

    Raises
    ------
    RampFormatError, MaskFormatError, UnknownFlagError, GeometryError
        Raised if `source` cannot be read, or contradicts itself.
    ConfigError
        Raised if an option makes no sense.

    Examples
    --------
    >>> import numpy as np
    >>> dq = np.zeros((64, 64), np.uint32)
    >>> dq[10, 10:13] = 2048 | 1
    >>> summary = summarize(dq)
    >>> summary.defects, summary.clusters
    (3, 1)
    >>> [(flag.name, flag.pixels) for flag in summary.flags]
    [('DO_NOT_USE', 3), ('HOT', 3)]
    """
    if not 0 < line_fraction <= 1:
        raise ConfigError(
            f"line_fraction is {line_fraction}; expected more than 0 and at most 1",
            hint="Give a share, for example 0.5.",
        )
    if connectivity not in (4, 8):
        raise ConfigError(f"connectivity is {connectivity}; expected 4 or 8", hint="Choose one.")
    wanted = PIXEL.mask if defect_flags is None else PIXEL.encode(defect_flags)
    image = as_image(source, unknown=unknown)
    if channels is None and image.description is not None:
        channels = image.description.channels
    stripes = (
        areas.channels(image.frame, channels, along_y=image.fast_along_y)
        if channels is not None
        else []
    )
    planes = sort_pixels(image.dq, wanted)
    clusters = find_clusters(planes.defects, connectivity=connectivity)
    window = image.window
    flagged = int(np.count_nonzero(planes.flagged))
    return Summary(
        label=image.label,
        kind=image.kind,
        path=image.path,
        instrument=image.instrument,
        detector=image.detector,
        place=window.describe(),
        pixels=image.dq.size,
        good=image.dq.size - flagged,
        flagged=flagged,
        sky=int(np.count_nonzero(planes.sky)),
        defects=int(np.count_nonzero(planes.defects)),
        do_not_use=int(np.count_nonzero(planes.do_not_use)),
        defect_flags=() if defect_flags is None else PIXEL.decode(wanted),
        flags=count_flags(image.dq),
        quadrants=areas.measure(image, planes, areas.quadrants(image.frame)),
        channels=areas.measure(image, planes, stripes),
        connectivity=connectivity,
        clusters=int(clusters.size.size),
        cluster_sizes=cluster_sizes(clusters),
        largest_clusters=largest_clusters(clusters, window),
        line_fraction=line_fraction,
        bad_rows=areas.bad_lines(planes, axis=1, first=window.ystart, fraction=line_fraction),
        bad_columns=areas.bad_lines(planes, axis=0, first=window.xstart, fraction=line_fraction),
        notes=image.notes,
        image=image,
    )
