"""Pages to explore flags: one HTML file with Bokeh's code, the pixels and the tables inside."""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tmt_dq.core.boxes import cover
from tmt_dq.core.geometry import Window
from tmt_dq.errors import ConfigError
from tmt_dq.exposures.record import SOFTWARE
from tmt_dq.files.atomic import write_file
from tmt_dq.report.maps import POWER, SPARSE
from tmt_dq.report.parts import LargeCluster
from tmt_dq.tables import Table, number

_MARKS = 400_000
"""How many boxes of pixels a page holds at most: 9 bytes each, and a third more as text."""

PLACES = 1000
"""How many places a table of a page lists at most."""


class Kind(NamedTuple):
    """What is known of all pixels with one value: text, and names of the layers that show it."""

    text: str
    layers: tuple[str, ...]


class Explored(NamedTuple):
    """Pixels to explore.

    `pixels` are zero, or have a value that is a key of `kinds`; `layers` (name, pixels, colour) are
    switched on and off, the first of several is on top; `tables` hold places to jump to.
    """

    pixels: npt.NDArray[np.uint32]
    window: Window
    kinds: dict[int, Kind]
    layers: Sequence[tuple[str, int, str]]
    tables: Mapping[str, Sequence[LargeCluster]]


def write_page(
    path: Path,
    explored: Explored,
    *,
    headline: Sequence[str],
    tables: Sequence[Table],
    footer: Sequence[str],
    overwrite: bool,
) -> Path:
    """Write a page that needs no other file: the pixels to explore, then the report's tables."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    try:
        from bokeh.embed import components
        from bokeh.resources import Resources
    except ImportError as error:
        what, hint = "a page needs bokeh, which is not installed", "Run: pip install bokeh"
        raise ConfigError(what, hint=hint) from error
    explored = explored._replace(
        tables={title: places for title, places in explored.tables.items() if places}
    )
    marks, left_out = _marks(explored)
    plot, readout, layers, places = _models(explored, marks)
    script, divs = components((plot, readout, layers, *places))
    if left_out:
        note = f"the {number(left_out)} smallest groups of equal pixels are left out of the page"
        headline = (*headline, note)
    environment = Environment(
        loader=PackageLoader("tmt_dq.report"), autoescape=True, undefined=StrictUndefined
    )
    text = environment.get_template("page.html").render(
        lines=headline,
        tables=tables,
        footer=footer,
        software=SOFTWARE,
        library=Resources("inline", components=["bokeh", "bokeh-widgets", "bokeh-tables"]).render(),
        script=script,
        marked=bool(explored.layers),
        plot=divs[0],
        readout=divs[1],
        layers=divs[2],
        places=list(zip(explored.tables, divs[3:], strict=True)),
    )
    # A file name may hold bytes that are no text; they are shown as escapes.
    content = text.encode("utf-8", "backslashreplace")
    write_file(path, content, overwrite=overwrite, sync=False)
    return path


def _marks(explored: Explored) -> tuple[dict[str, npt.NDArray[Any]], int]:
    """Return the pixels as boxes of equal ones, the largest of too many, and how many are not."""
    boxes = cover(explored.pixels)
    chosen = np.arange(len(boxes))
    if len(boxes) > _MARKS:
        chosen = np.sort(np.argsort(-boxes.nx * boxes.ny, kind="stable")[:_MARKS])
    y, x = boxes.y[chosen], boxes.x[chosen]
    values = np.array(list(explored.kinds), np.uint32)
    order = np.argsort(values)
    kind = order[np.searchsorted(values, explored.pixels[y, x], sorter=order)]
    columns = {
        "x": x + explored.window.x,
        "y": y + explored.window.y,
        "nx": boxes.nx[chosen],
        "ny": boxes.ny[chosen],
        "kind": kind,
    }
    # Small numbers: most of the page is this list.
    marks = {
        name: column.astype(np.min_scalar_type(int(np.max(column, initial=0))))
        for name, column in columns.items()
    }
    return marks, len(boxes) - chosen.size


def _models(explored: Explored, marks: dict[str, npt.NDArray[Any]]) -> tuple[Any, Any, Any, Any]:
    """Return Bokeh's models: the plot, the line of the hovered pixel, the layers, the tables."""
    from bokeh.events import MouseMove
    from bokeh.models import CheckboxGroup, ColumnDataSource, CustomJS, Div, InlineStyleSheet

    names, counts, colours = zip(*explored.layers, strict=True) if explored.layers else ((), (), ())
    plot, image, outline = _plot(explored.window)
    swatches = (
        f"label:nth-child({place}) span {{ border-left: 1.1em solid {colour}; padding-left: .4em }}"
        for place, colour in enumerate(colours, start=1)
    )
    layers = CheckboxGroup(
        labels=[f"{name} {number(n)}" for name, n in zip(names, counts, strict=True)],
        active=list(range(len(names))),
        stylesheets=[InlineStyleSheet(css="\n".join(swatches))],
        sizing_mode="stretch_width",
    )
    readout = Div(text="Point at a pixel.", sizing_mode="stretch_width", min_height=64)
    window = explored.window
    arguments = {
        "plot": plot,
        "image": image,
        "outline": outline,
        "layers": layers,
        "readout": readout,
        "marks": ColumnDataSource(marks),
        "texts": [kind.text for kind in explored.kinds.values()],
        "kinds": [
            sorted(names.index(layer) for layer in kind.layers) for kind in explored.kinds.values()
        ],
        "colours": [list(bytes.fromhex(colour[1:])) for colour in colours],
        "frame": [window.x, window.y, window.x + window.nx, window.y + window.ny],
        "power": POWER,
        "sparse": list(SPARSE),
    }
    draw, hover, jump = (
        CustomJS(args=arguments, code=_code(name)) for name in ("draw", "hover", "jump")
    )
    plot.js_on_event(MouseMove, hover)
    plot.js_on_change("inner_width", draw)
    plot.js_on_change("inner_height", draw)
    for axis in (plot.x_range, plot.y_range):
        axis.js_on_change("start", draw)
        axis.js_on_change("end", draw)
    layers.js_on_change("active", draw)
    return plot, readout, layers, [_place_table(rows, jump) for rows in explored.tables.values()]


def _code(name: str) -> str:
    return resources.files("tmt_dq.report").joinpath(f"templates/{name}.js").read_text("utf-8")


def _plot(window: Window) -> tuple[Any, Any, Any]:
    """Return an empty plot of a window, the source of its picture, and that of an outline."""
    from bokeh.models import BoxZoomTool, ColumnDataSource, Range1d, WheelZoomTool
    from bokeh.plotting import figure

    plot = figure(
        width=760,
        height=760,
        x_range=Range1d(window.x + 0.5, window.x + window.nx + 0.5, min_interval=8),
        y_range=Range1d(window.y + 0.5, window.y + window.ny + 0.5),
        x_axis_label="x (detector pixel, from 1)",
        y_axis_label="y (detector pixel, from 1)",
        tools="pan,reset,save",
        active_drag="pan",
        sizing_mode="scale_width",
    )
    wheel = WheelZoomTool()
    plot.add_tools(wheel, BoxZoomTool(match_aspect=True))
    plot.toolbar.active_scroll = wheel
    plot.toolbar.logo = None
    plot.grid.visible = False
    first = np.zeros((1, 1), np.uint32)
    image = ColumnDataSource({"image": [first], "x": [0.5], "y": [0.5], "dw": [1], "dh": [1]})
    plot.image_rgba("image", "x", "y", "dw", "dh", source=image)
    edges = ("left", "right", "top", "bottom")
    outline = ColumnDataSource({edge: [] for edge in edges})
    plot.quad(*edges, source=outline, fill_alpha=0, line_color="black", line_width=2)
    return plot, image, outline


def _place_table(places: Sequence[LargeCluster], jump: Any) -> Any:
    """Return a sortable table whose rows jump to their place."""
    from bokeh.models import ColumnDataSource, CustomJS, DataTable, TableColumn

    names = ("pixels", "x", "y", "width", "height")
    source = ColumnDataSource(
        {name: np.array([getattr(place, name) for place in places], np.int32) for name in names}
    )
    own = CustomJS(args={**jump.args, "places": source}, code=jump.code)
    source.selected.js_on_change("indices", own)
    return DataTable(
        source=source,
        columns=[TableColumn(field=name, title=name, width=60) for name in names],
        index_position=None,
        sizing_mode="stretch_width",
        height=min(320, 30 + 25 * len(places)),
    )
