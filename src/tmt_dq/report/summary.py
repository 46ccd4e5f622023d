"""Summary of a mask's or ramp's flags: counts, areas, clusters, bad rows and columns."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tmt_dq.core.cells import thumbnail
from tmt_dq.core.clusters import Clusters, find_clusters
from tmt_dq.core.counts import FlagCount, Planes, count_flags, sort_pixels
from tmt_dq.core.dq_def import Unknown
from tmt_dq.core.flags import PIXEL
from tmt_dq.errors import ConfigError
from tmt_dq.files.url_arguments import staged
from tmt_dq.report import parts
from tmt_dq.report.colours import Classes, by_flag, by_kind
from tmt_dq.report.figures import BAR, LEFT, TOP, draw_counts, new_figure
from tmt_dq.report.image import ImageReport, Source, as_image
from tmt_dq.report.maps import draw_density, draw_map, mark_lines
from tmt_dq.report.page import PLACES, Explored, Kind
from tmt_dq.report.parts import Area, BadLine, ClusterSizes, LargeCluster
from tmt_dq.report.regions import write_regions
from tmt_dq.report.report import ExploredReport, flag_names
from tmt_dq.tables import HIDDEN, Table, flag_table, number, share

LINE_FRACTION = 0.5
"""From which share of defects a row or column is called bad. LSST's cp_pipe fills a column from
``badPixelsToFillColumnThreshold`` = 1000 bad pixels of an amplifier's 2000 rows on: one half."""

ColorBy = Literal["kind", "flag"]
"""What the colours of a map mean."""

_LISTED = 10
"""How many clusters are listed one by one."""
_LINES_LISTED = 20
"""How many bad rows or columns a table lists; JSON has all."""

_NO_LIGHT = (
    "pixels with REFERENCE_PIXEL or NON_SCIENCE are left out. Positions are FITS detector pixels, "
    "the first of which is 1, 1."
)


@dataclass(frozen=True)
class Summary(ImageReport, ExploredReport):
    """What `summarize` found.

    Attributes
    ----------
    label, kind, path, instrument, detector : str, Path or None
        The file's name, "mask", "ramp" or "array", the file, and whose flags they are, if known.
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
    clusters : int
        Groups of defects that share edges or corners, as photutils and SExtractor define them.
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
    clusters: int
    cluster_sizes: tuple[ClusterSizes, ...]
    largest_clusters: tuple[LargeCluster, ...]
    line_fraction: float
    bad_rows: tuple[BadLine, ...]
    bad_columns: tuple[BadLine, ...]
    notes: tuple[str, ...]
    planes: Planes = field(repr=False, compare=False, metadata=HIDDEN)
    all_clusters: Clusters = field(repr=False, compare=False, metadata=HIDDEN)

    def headline(self) -> Sequence[str]:
        """Return what it is and how much of it is flagged."""
        owner = self.image.owner_name
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
        clusters = f"Clusters of defects: {number(self.clusters)}"
        sizes = [(size.label, size.clusters, size.pixels) for size in self.cluster_sizes]
        large = [(c.pixels, str(c.x), str(c.y), c.width, c.height) for c in self.largest_clusters]
        place = ("pixels", "x", "y", "width", "height")
        tables = [
            flag_table(counts, self.pixels, {"with DO_NOT_USE": together}),
            _area_table("Quadrants", self.quadrants),
            _area_table("Readout channels", self.channels),
            Table.of(clusters, ("size", "clusters", "pixels"), sizes, [0]),
            Table.of("Largest clusters (1-based detector pixels)", place, large, range(5)),
            _line_table("row", self.bad_rows, self.line_fraction),
            _line_table("column", self.bad_columns, self.line_fraction),
        ]
        return [table for table in tables if table.rows]

    def figure(self, *, color_by: ColorBy = "kind") -> Any:
        """Draw a map with bad lines, pixels per flag, the density of defects, a map of each flag.

        Parameters
        ----------
        color_by : {"kind", "flag"}
            Meaning of the large map's colours: whether a pixel is a defect, has DO_NOT_USE too, or
            sees no light; or its flags, the rarest of several, DO_NOT_USE last.

        Returns
        -------
        matplotlib.figure.Figure
            The picture. A dot of a map is one pixel, or as many as its title states: then its ink
            grows with the share of them that is flagged.

        Raises
        ------
        ConfigError
            Raised if matplotlib is not installed, or `color_by` is something else.
        """
        dq, window, legends = self.image.dq, self.image.window, self._legends(color_by)
        flags = legends[-1].bars if len(self.flags) > 1 else []
        size, small, side = (2048 if max(window.shape) > 1024 else 1024), 512, 720
        # Beside the map there is room for the numbers of bad rows, and for the labels of an axis.
        left = LEFT + size + 280
        width, down = left + side + 70, small * window.ny // max(window.shape) + 230
        across = width // 745
        beside = sum(BAR * len(legend.bars) + 210 for legend in legends) + small
        below = TOP + max(size, beside) + 220
        height = below + -(-len(flags) // across) * down
        figure = new_figure(width, height, self.headline()[0])
        axes = draw_map(figure, (LEFT, TOP), size, legends[0], title="flagged pixels")
        mark_lines(axes, self.bad_columns, self.bad_rows)
        top = TOP
        for legend in legends:
            top += draw_counts(figure, (left, top), side, legend.bars)
        if self.defects and max(window.shape) > small // 4:
            draw_density(figure, (left, top), small, self.planes, window)
        for place, (name, count, colour) in enumerate(flags):
            layer = ((dq & np.uint32(PIXEL[name])) != 0).view(np.uint8)
            corner = (LEFT + place % across * 745, below + place // across * down)
            one = Classes(layer, window, (name,), (colour,))
            draw_map(figure, corner, small, one, title=f"{name} {number(count)}")
        return figure

    def _legends(self, color_by: str) -> list[Classes]:
        """Return the pixels by kind and by flag, or by flag alone."""
        if color_by not in {"kind", "flag"}:
            raise ConfigError(f"color_by is {color_by!r}; expected kind or flag")
        flags = by_flag(self.image.dq, self.image.window, self.flags)
        return [by_kind(self.planes, self.image.window), flags] if color_by == "kind" else [flags]

    def _explored(self) -> Explored:
        """Return the flags as layers, clusters and bad lines as places."""
        window, dq = self.image.window, self.image.dq
        y, x, ny, nx = window.ystart, window.xstart, window.ny, window.nx
        lines = [LargeCluster(line.defects, line.position, y, 1, ny) for line in self.bad_columns]
        lines += [LargeCluster(line.defects, x, line.position, nx, 1) for line in self.bad_rows]
        clusters = parts.largest_clusters(self.all_clusters, window, PLACES)
        values = {int(value): PIXEL.decode(value) for value in np.unique(dq[dq != 0])}
        return Explored(
            pixels=dq,
            window=window,
            kinds={value: Kind(flag_names(names), names) for value, names in values.items()},
            layers=by_flag(dq, window, self.flags).bars,
            tables={"Largest clusters of defects": clusters, "Bad columns and rows": lines},
        )

    def _thumbnail(self) -> bytes:
        return thumbnail(self.image.dq)

    def _footer(self) -> Sequence[str]:
        kinds = f"one of the flags {', '.join(self.defect_flags)}"
        defect = f"A defect is a pixel with {kinds if self.defect_flags else 'any flag'}"
        return (f"{defect} that can see light: {_NO_LIGHT}",)

    def write_regions(
        self,
        path: str | os.PathLike[str],
        *,
        color_by: ColorBy = "kind",
        overwrite: bool = False,
    ) -> Path:
        """Write boxes around flagged pixels for DS9, with a colour and a tag for each kind or flag.

        Parameters
        ----------
        path : path
            The region file to write.
        color_by : {"kind", "flag"}
            As in `figure`.
        overwrite : bool
            Whether an existing file is replaced.

        Returns
        -------
        Path
            `path`.

        Raises
        ------
        ConfigError
            Raised if `color_by` is something else.
        OutputError
            Raised if the file exists or cannot be written.
        """
        classes = self._legends(color_by)[0]
        return write_regions(Path(path), self.label, classes, overwrite=overwrite)


def _area_table(title: str, areas: Sequence[Area]) -> Table:
    header = ("area", "pixels", "flagged", "defects", "share", "DO_NOT_USE", "detector pixels")
    rows = [
        (a.name, a.pixels, a.flagged, a.defects, a.fraction, a.do_not_use, a.place) for a in areas
    ]
    return Table.of(title, header, rows)


def _line_table(name: str, lines: Sequence[BadLine], limit: float) -> Table:
    """Return the first bad lines (`name` is "row" or "column") as a table."""
    title = f"Bad {name}s (at least {100 * limit:g} % defects): {number(len(lines))}"
    if len(lines) > _LINES_LISTED:
        title += f", the first {_LINES_LISTED}"
    rows = [(str(line.position), line.defects, line.fraction) for line in lines[:_LINES_LISTED]]
    return Table.of(title, (name, "defects", "share"), rows, [0])


@staged("source")
def summarize(
    source: Source,
    *,
    channels: int | None = None,
    defect_flags: str | Iterable[str] | None = None,
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
    wanted = PIXEL.mask if defect_flags is None else PIXEL.encode(defect_flags)
    image = as_image(source, unknown=unknown)
    window = image.window
    if channels is None and image.description is not None:
        channels = image.description.channels
    stripes = []
    if channels is not None:
        stripes = parts.channels(image.frame, channels, along_y=image.fast_along_y)
    planes = sort_pixels(image.dq, wanted)
    clusters = find_clusters(planes.defects)
    flagged = int(np.count_nonzero(planes.flagged))
    return Summary(
        **image.facts,
        place=window.describe(),
        pixels=image.dq.size,
        good=image.dq.size - flagged,
        flagged=flagged,
        sky=int(np.count_nonzero(planes.sky)),
        defects=int(np.count_nonzero(planes.defects)),
        do_not_use=int(np.count_nonzero(planes.do_not_use)),
        defect_flags=() if defect_flags is None else PIXEL.decode(wanted),
        flags=count_flags(image.dq),
        quadrants=parts.measure(window, planes, parts.quadrants(image.frame)),
        channels=parts.measure(window, planes, stripes),
        clusters=int(clusters.size.size),
        cluster_sizes=parts.cluster_sizes(clusters),
        largest_clusters=tuple(
            one for one in parts.largest_clusters(clusters, window, _LISTED) if one.pixels > 1
        ),
        line_fraction=line_fraction,
        bad_rows=parts.bad_lines(planes, axis=1, first=window.ystart, fraction=line_fraction),
        bad_columns=parts.bad_lines(planes, axis=0, first=window.xstart, fraction=line_fraction),
        notes=image.notes,
        planes=planes,
        all_clusters=clusters,
    )
