"""Reports: results that are printed, shown in notebooks, written as JSON or pages, drawn."""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tmt_dq.errors import ConfigError
from tmt_dq.report.figures import save_figure
from tmt_dq.report.page import Explored, write_page
from tmt_dq.tables import Table, as_astropy, as_html, plain

if TYPE_CHECKING:
    from astropy import table as astropy_table


class Report:
    """A dataclass that can be printed, shown in a notebook, written as JSON, and drawn."""

    def headline(self) -> Sequence[str]:
        """Return the lines of text before the tables."""
        raise NotImplementedError

    def tables(self) -> Sequence[Table]:
        """Return the tables that have rows."""
        raise NotImplementedError

    def figure(self) -> Any:
        """Return the picture of `plot`, a matplotlib Figure."""
        raise NotImplementedError

    def plot(
        self, path: str | os.PathLike[str], *, overwrite: bool = False, **choices: Any
    ) -> Path:
        """Write the picture of `figure`, to which `choices` go.

        Parameters
        ----------
        path : path
            The picture to write; its ending gives the format, PNG without one.
        overwrite : bool
            Whether an existing picture is replaced.
        choices
            Options of `figure`.

        Returns
        -------
        Path
            `path`.

        Raises
        ------
        ConfigError
            Raised if matplotlib is not installed, or does not know the format.
        OutputError
            Raised if the picture exists or cannot be written.
        """
        return save_figure(self.figure(**choices), Path(path), overwrite=overwrite)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as dictionaries, lists, text and numbers, ready for JSON."""
        fields: dict[str, Any] = json.loads(self.to_json())
        return fields

    def to_json(self, *, indent: int | None = None) -> str:
        """Return the report as JSON."""
        return json.dumps(self, indent=indent, default=plain)

    @property
    def table_names(self) -> tuple[str, ...]:
        """Names of the report's parts that are lists, for `to_table`."""
        return tuple(self._records())

    def to_table(self, name: str | None = None) -> "astropy_table.Table":
        """Return a part of the report as a table of astropy, numbers as numbers.

        Parameters
        ----------
        name : str, optional
            The part, one of `table_names`; by default the flags.

        Returns
        -------
        astropy.table.Table
            A row for each of its entries.

        Raises
        ------
        ConfigError
            Raised if the report has no such part.
        """
        wanted = "flags" if name is None else name
        records = self._records()
        if wanted not in records:
            raise ConfigError(
                f"the report has no table {wanted!r}; expected one of {', '.join(records)}"
            )
        return as_astropy(getattr(self, wanted), records[wanted], meta={"table": wanted})

    def _thumbnail(self) -> bytes | None:
        """Return a small picture for a notebook, as PNG."""
        return None

    def _records(self) -> dict[str, type]:
        """Return the fields that hold several records, and the class of those."""
        assert dataclasses.is_dataclass(self)
        kinds = {field.name: get_args(field.type)[:1] for field in dataclasses.fields(self)}
        return {
            name: kind[0]
            for name, kind in kinds.items()
            if kind and isinstance(kind[0], type) and dataclasses.is_dataclass(kind[0])
        }

    def _repr_html_(self) -> str:
        """Show the report in a notebook."""
        return as_html(self.headline(), self.tables(), self._thumbnail())


class ExploredReport(Report):
    """A report on pixels that can be explored in a browser."""

    def write_html(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write a page to explore the pixels in a browser; it needs no other file and no network.

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
            Raised if bokeh is not installed.
        OutputError
            Raised if the page exists or cannot be written.
        """
        return write_page(
            Path(path),
            self._explored(),
            headline=self.headline(),
            tables=self.tables(),
            footer=self._footer(),
            overwrite=overwrite,
        )

    def _explored(self) -> Explored:
        """Return what a page lets its reader explore."""
        raise NotImplementedError

    def _footer(self) -> Sequence[str]:
        """Return remarks at the end of a page."""
        return ()


def flag_names(flags: Sequence[str]) -> str:
    """Return flags as text, GOOD for none."""
    return " ".join(flags) or "GOOD"
