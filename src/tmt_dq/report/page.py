"""A summary as a page of HTML that needs no other file."""

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from tmt_dq.exposures.record import SOFTWARE
from tmt_dq.files.atomic import AtomicOutput
from tmt_dq.files.copying import write_all
from tmt_dq.report.figures import png_bytes

if TYPE_CHECKING:
    from tmt_dq.report.summary import Summary

__all__ = ["write_page"]


def write_page(path: Path, summary: "Summary", *, overwrite: bool = False) -> Path:
    """Write a summary as one page, its picture and style inside.

    Parameters
    ----------
    path : Path
        The page to write.
    summary : Summary
        The summary.
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
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tmt_dq.report"), autoescape=True, undefined=StrictUndefined
    )
    text = environment.get_template("summary.html").render(
        summary=summary,
        lines=summary.headline(),
        tables=summary.tables(),
        picture=base64.b64encode(png_bytes(summary.figure())).decode(),
        software=SOFTWARE,
    )
    with AtomicOutput(path, overwrite=overwrite, sync=False) as out:
        # A file name may hold bytes that are no text; they are shown as escapes.
        write_all(out.fd, text.encode("utf-8", "backslashreplace"), 0)
    return path
