"""Reports: results that are printed, shown in notebooks, written as JSON, drawn."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tmt_dq.errors import ConfigError
from tmt_dq.report.figures import save_figure
from tmt_dq.tables import Table, as_astropy, as_html

if TYPE_CHECKING:
    from astropy import table as astropy_table

__all__ = ["HIDDEN", "DrawnReport", "Report"]

HIDDEN: dict[str, Any] = {"hidden": True}
"""Metadata of a field that is kept for further work but is no part of the report."""

Plain = dict[str, Any]


class Report:
    """A result that can be printed, shown in a notebook and written as JSON."""

    def headline(self) -> Sequence[str]:
        """Return the lines of text before the tables."""
        raise NotImplementedError

    def tables(self) -> Sequence[Table]:
        """Return the tables that have rows."""
        raise NotImplementedError

    def to_dict(self) -> Plain:
        """Return the report as dictionaries, lists, text and numbers, ready for JSON."""
        plain: Plain = _plain(self)
        return plain

    def to_json(self, *, indent: int | None = None) -> str:
        """Return the report as JSON."""
        return json.dumps(self.to_dict(), indent=indent)

    @property
    def table_names(self) -> tuple[str, ...]:
        """Names of the report's parts that are lists, for `to_table`."""
        return tuple(self._records())

    def _records(self) -> dict[str, type]:
        """Return the fields that hold several records, and the class of those."""
        assert dataclasses.is_dataclass(self)
        kinds = {field.name: get_args(field.type)[:1] for field in dataclasses.fields(self)}
        return {
            name: kind[0]
            for name, kind in kinds.items()
            if kind and isinstance(kind[0], type) and dataclasses.is_dataclass(kind[0])
        }

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

    def _repr_html_(self) -> str:
        """Show the report in a notebook."""
        return as_html(self.headline(), self.tables())


class DrawnReport(Report):
    """A report that can also be drawn."""

    def figure(self) -> Any:
        """Return the picture of `plot`, a matplotlib Figure.

        Raises
        ------
        ConfigError
            Raised if matplotlib is not installed.
        """
        raise NotImplementedError

    def plot(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the picture of `figure`.

        Parameters
        ----------
        path : path
            The picture to write; its ending gives the format, PNG without one.
        overwrite : bool
            Whether an existing picture is replaced.

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
        return save_figure(self.figure(), Path(path), overwrite=overwrite)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if not field.metadata.get("hidden")
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
