"""Reports as pages of HTML that need no other file."""

import base64
from collections.abc import Sequence
from pathlib import Path

from tmt_dq.exposures.record import SOFTWARE
from tmt_dq.files.atomic import write_file
from tmt_dq.report.figures import png_bytes
from tmt_dq.report.report import DrawnReport

__all__ = ["write_page"]


def write_page(
    path: Path,
    report: DrawnReport,
    *,
    title: str,
    caption: str,
    footer: Sequence[str],
    overwrite: bool = False,
) -> Path:
    """Write a report as one page, its picture (`caption` is its text) and style inside."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tmt_dq.report"), autoescape=True, undefined=StrictUndefined
    )
    text = environment.get_template("page.html").render(
        title=title,
        lines=report.headline(),
        caption=caption,
        picture=base64.b64encode(png_bytes(report.figure())).decode(),
        tables=report.tables(),
        footer=footer,
        software=SOFTWARE,
    )
    # A file name may hold bytes that are no text; they are shown as escapes.
    content = text.encode("utf-8", "backslashreplace")
    write_file(path, content, overwrite=overwrite, sync=False)
    return path
