"""What TMT's data models have in common: strictness, metadata, and outputs that are whole."""

import datetime as dt
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from astropy.io import fits
from stdatamodels import DataModel
from stdatamodels.schema import walk_schema

from tmt_dq.core.cells import thumbnail
from tmt_dq.core.flags import PIXEL
from tmt_dq.datamodels.nodes import as_node, format_errors, resolve_aliases
from tmt_dq.datamodels.schema_resources import PREFIX
from tmt_dq.errors import ConfigError, RampFormatError, TmtDqError
from tmt_dq.files.atomic import atomic_output, output_errors
from tmt_dq.fits.asdf_tree import check_proportions
from tmt_dq.fits.cards import Card
from tmt_dq.fits.file import open_input
from tmt_dq.instruments import Instrument, available, load
from tmt_dq.tables import Table, as_html, flag_table

_SUFFIXES = (".fits", ".asdf")
_LONGEST_TREE = 64 * 1024 * 1024


class TMTDataModel(DataModel):
    """Base of TMT's data models.

    It differs from stdatamodels' ``DataModel`` in three things: a value that does not fit the
    schema is an error at once, not a warning and a lost value; ``meta.name`` and ``meta.detector``
    stand for ``meta.instrument.name`` and ``meta.instrument.detector``; and files appear whole
    under their name or not at all.

    Parameters
    ----------
    init : path, HDUList, dict, ndarray, tuple or DataModel, optional
        What to start from, as for ``stdatamodels.DataModel``.
    strict_validation : bool, optional
        Whether values that do not fit are errors: True unless said otherwise. With False, they
        are stdatamodels' warnings, and lost.
    **kwargs
        Arrays by name, and the options of ``stdatamodels.DataModel``.

    Raises
    ------
    RampFormatError or MaskFormatError
        Raised if a file is missing, is not FITS or ASDF, is truncated, or holds values that do
        not fit the schema.
    """

    schema_url = PREFIX + "core-1.0.0"

    format_error: ClassVar[type[TmtDqError]] = RampFormatError
    """Class of the errors about a file or a value of this model."""

    def __init__(
        self, init: Any = None, *, strict_validation: bool | None = None, **kwargs: Any
    ) -> None:
        self._where = _origin(init, type(self).__name__)
        strict = True if strict_validation is None else strict_validation
        from_file = isinstance(init, (str, os.PathLike))
        if from_file:
            init = self._checked_path(Path(init))
        try:
            with format_errors(self.format_error, self._where):
                super().__init__(init, strict_validation=strict, **kwargs)
        except (TmtDqError, MemoryError):
            raise
        except Exception as error:
            # Damaged files make astropy and asdf raise all sorts of things; anything but a file is
            # the caller's, and so is the error.
            if not from_file:
                raise
            raise self.format_error(f"cannot be read: {error}", where=self._where) from error
        if not isinstance(init, DataModel):  # whose tree this model may share
            settle_extra(self)

    def _checked_path(self, path: Path) -> str:
        """Refuse a file that astropy would half read: it warns about truncation and goes on."""
        if not path.name.endswith((".fits", ".fits.gz", ".asdf")):
            what = "is not named .fits, .fits.gz or .asdf; expected one of these"
            raise self.format_error(what, where=path)
        try:
            with format_errors(self.format_error, path):
                if path.suffix == ".asdf":
                    with path.open("rb") as file:
                        check_proportions(file.read(_LONGEST_TREE), path)
                else:
                    with open_input(path):
                        pass
        except OSError as error:
            raise self.format_error(f"cannot be read: {error.strerror}", where=path) from error
        return str(path)

    def _migrate_hdulist(self, hdulist: fits.HDUList) -> fits.HDUList:
        """Check the tree, and correct what astropy reads otherwise (stdatamodels' hook)."""
        for hdu in hdulist:
            if hdu.name == "ASDF" and hdu.data is not None:
                check_proportions(hdu.data.tobytes(), self._where)
        return fits.HDUList([_corrected(hdu) for hdu in hdulist])

    def __getattr__(self, attr: str) -> Any:
        return as_node(super().__getattr__(attr))

    def __setattr__(self, attr: str, value: Any) -> None:
        if attr.startswith("_"):
            super().__setattr__(attr, value)
            return
        with format_errors(self.format_error, f"{type(self).__name__}.{attr}"):
            super().__setattr__(attr, value)

    def on_init(self, init: Any) -> None:
        """Bring short names home once the tree is there (stdatamodels' hook)."""
        meta = self._instance.get("meta")
        if isinstance(meta, dict):
            resolve_aliases(meta, self.format_error, self._where)
        super().on_init(init)
        if isinstance(init, fits.HDUList) and Path(self._where).suffix:
            # stdatamodels asks the list, which does not know its file any more once an HDU of it
            # was exchanged.
            self.meta.filename = Path(self._where).name

    def on_save(self, path: Any = None) -> None:
        """Date the file (stdatamodels' hook)."""
        super().on_save(path)
        now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        self.meta.date = now.isoformat(timespec="milliseconds")

    def validate(self) -> None:
        """Check the whole tree against the schema; what does not fit is a `format_error`."""
        with format_errors(self.format_error, self._where):
            super().validate()

    @property
    def crds_observatory(self) -> str:
        """The observatory as CRDS calls it."""
        return self._description.observatory if self._description else "tmt"

    @property
    def _description(self) -> Instrument | None:
        """The description of the file's instrument, None where there is none."""
        name = self.meta.instrument.name
        return load(name) if name is not None and str(name).upper() in available() else None

    def get_crds_parameters(self) -> dict[str, str | int | float | bool]:
        """Return the metadata that CRDS' rules use, by dotted name (``meta.instrument.name``)."""
        return {
            key: value
            for key, value in self.to_flat_dict(include_arrays=False).items()
            if key.startswith("meta.") and isinstance(value, (str, int, float, bool))
        }

    def fits_keywords(self) -> dict[str, Any]:
        """Return the metadata by keyword, as the primary header of a FITS file would hold it.

        Keywords that came with a file without being in the schema are among them.
        """
        extra = self._instance.get("extra_fits", {}).get("PRIMARY", {}).get("header", [])
        keywords = {keyword: value for keyword, value, _ in extra}
        for keyword, path in _places(self._schema)[0].items():
            value: Any = self._instance
            for part in path:
                value = value.get(part) if isinstance(value, dict) else None
            if value is not None:
                keywords[keyword] = value
        return keywords

    def _repr_html_(self) -> str:
        """Show keywords, shapes and the pixels of each flag; no samples are looked at."""
        tree = self.instance
        keywords = tuple((name, str(value)) for name, value in self.fits_keywords().items())
        arrays = tuple(
            (name, *_size(array)) for name, array in tree.items() if hasattr(array, "dtype")
        )
        tables = [
            Table("Keywords", ("", ""), keywords),
            Table("Arrays", ("array", "shape", "type", "MB"), arrays, (3,)),
        ]
        picture = None
        for flags in (tree[name] for name in ("dq", "pixeldq") if name in tree):
            dq = np.asarray(flags)
            tables.append(flag_table(PIXEL.count(dq), dq.size))
            picture = thumbnail(dq)
        name = tree.get("meta", {}).get("filename") or ""
        return as_html([f"{type(self).__name__} {name}".rstrip()], tables, picture)

    def save(
        self,
        path: str | os.PathLike[str] | Callable[[str], str],
        dir_path: str | os.PathLike[str] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> str:
        """Save to a FITS or ASDF file, by the ending of its name; it appears whole or not at all.

        An existing file is replaced unless ``overwrite=False``. Parameters and result are those of
        ``stdatamodels.DataModel.save``.

        Raises
        ------
        ConfigError
            Raised if the name ends otherwise.
        OutputError
            Raised if the folder is missing or the file cannot be written.
        """
        name = path(self.meta.filename) if callable(path) else os.fspath(path)
        if Path(name).suffix not in _SUFFIXES:
            raise ConfigError(
                f"cannot tell the format of {name!r} from its name",
                where=f"{type(self).__name__}.save",
                hint="Use a name that ends in .fits or .asdf.",
            )
        folder = None if dir_path is None else os.fspath(dir_path)
        return str(super().save(name, folder, *args, **kwargs))

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> Path:
        """Save to a file, creating the folders it needs.

        Parameters
        ----------
        path : path
            The file, ending in .fits or .asdf.
        overwrite : bool
            Whether an existing file is replaced, in one step once the new one is complete.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        ConfigError
            Raised if the name ends otherwise.
        OutputError
            Raised if the file exists and may not be replaced, or cannot be written.
        """
        target = Path(path)
        with output_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        self.save(target, overwrite=overwrite)
        return target

    def to_fits(self, init: Any, *args: Any, overwrite: bool = False, **kwargs: Any) -> None:
        """Write a FITS file as ``stdatamodels.DataModel`` does, but whole or not at all.

        Raises
        ------
        OutputError
            Raised if the file exists and may not be replaced, or cannot be written.
        """
        self._write(super().to_fits, init, *args, overwrite=overwrite, **kwargs)

    def to_asdf(self, init: Any, *args: Any, overwrite: bool = True, **kwargs: Any) -> None:
        """Write an ASDF file as ``stdatamodels.DataModel`` does, but whole or not at all.

        Raises
        ------
        OutputError
            Raised if the file exists and may not be replaced, or cannot be written.
        """
        self._write(super().to_asdf, init, *args, overwrite=overwrite, **kwargs)

    def _write(
        self, write: Callable[..., None], init: Any, *args: Any, overwrite: bool, **kwargs: Any
    ) -> None:
        if not isinstance(init, (str, os.PathLike)):
            with format_errors(self.format_error, self._where):
                write(init, *args, **kwargs)
            return
        path = Path(init)
        with (
            atomic_output(path, overwrite=overwrite) as fd,
            output_errors(path),
            format_errors(self.format_error, path),
            open(fd, "wb", closefd=False) as stream,
        ):
            self.meta.filename = path.name
            write(stream, *args, **kwargs)


def _places(schema: Any) -> tuple[dict[str, tuple[str, ...]], set[str]]:
    """Return where the tree has each keyword of the primary header, and the arrays' extensions."""
    keywords: dict[str, tuple[str, ...]] = {}
    arrays: set[str] = set()

    def collect(subschema: Any, path: Any, *_: Any) -> None:
        keyword, hdu = subschema.get("fits_keyword"), subschema.get("fits_hdu")
        if keyword is None and hdu is not None:
            arrays.add(hdu)
        elif keyword is not None and hdu in {None, "PRIMARY"}:
            keywords[keyword] = tuple(path)

    walk_schema(schema, collect)
    return keywords, arrays


def settle_extra(model: TMTDataModel) -> None:
    """Move to its place, in the model's own tree, what an earlier model had no place for.

    Otherwise it would be written twice: from its place and from ``extra_fits``.
    """
    extra = model.instance.get("extra_fits", {})
    places, arrays = _places(model.schema)
    for keyword, value, _ in extra.get("PRIMARY", {}).get("header", []):
        if keyword in places:
            *path, name = places[keyword]
            node = model.instance
            for part in path:
                node = node.setdefault(part, {})
            node.setdefault(name, value)
    for hdu, content in extra.items():
        stale = {"CHECKSUM", "DATASUM", *(places if hdu == "PRIMARY" else ())}
        content["header"] = [card for card in content.get("header", []) if card[0] not in stale]
        if hdu in arrays:
            content.pop("data", None)


def _size(array: Any) -> tuple[str, str, str]:
    # An array may be a gigabyte on the disk: shape and type alone are read.
    megabytes = np.dtype(array.dtype).itemsize * math.prod(array.shape) / 1e6
    return " × ".join(map(str, array.shape)), str(array.dtype), f"{megabytes:,.1f}"


def _origin(init: Any, otherwise: str) -> str:
    """Name what a model is made from, for errors."""
    if isinstance(init, (str, os.PathLike)):
        return str(init)
    if isinstance(init, fits.HDUList):
        return str(init.filename() or "HDUList")
    return otherwise


def _corrected(hdu: Any) -> Any:
    """Return an HDU without keywords that have no value, and with texts as they were written.

    To a model, a keyword without a value is absent. astropy takes a quote before a slash for the
    end of a text, even where it is doubled.
    """
    undefined, texts = [], {}
    for card in hdu.header.cards:
        if isinstance(card.value, fits.Undefined):
            undefined.append(card.keyword)
        elif isinstance(card.value, str) and "''" in card.image:
            ours = Card(card.image)
            if ours.value != card.value:
                texts[card.keyword] = (ours.value, ours.comment)
    if not undefined and not texts:
        return hdu
    hdu = hdu.copy()
    for keyword in undefined:
        hdu.header.remove(keyword, ignore_missing=True)
    hdu.header.update(texts)
    return hdu
