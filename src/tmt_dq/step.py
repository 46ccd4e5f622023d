"""DQ initialization as a step of stpipe: ``DQInitStep.call(...)``, ``strun dq_init ...``."""

import contextlib
import dataclasses
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from stdatamodels import DataModel
from stpipe import Step
from stpipe.config_parser import ConfigObj

from tmt_dq.apply import Applied, apply_dq, choose_recipe, gather_sources
from tmt_dq.core.detector import subarray_windows
from tmt_dq.core.dq_def import translation
from tmt_dq.core.dqinit import initialize
from tmt_dq.core.geometry import Window
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources import FlagSource
from tmt_dq.datamodels import TMTMaskModel, TMTRampModel
from tmt_dq.datamodels.definitions import convention_table, defined_bits
from tmt_dq.errors import ConfigError, GeometryError, NoMatchError, OutputError, RampFormatError
from tmt_dq.io.atomic import check_output
from tmt_dq.io.fetched import fetch, names_of_fetched
from tmt_dq.io.history import NO_FLAGS_BEFORE
from tmt_dq.io.inputs import open_input
from tmt_dq.io.layout import Unit
from tmt_dq.io.masks import Mask, read_mask
from tmt_dq.io.names import default_output
from tmt_dq.io.provenance import SOFTWARE, Record, history_lines
from tmt_dq.io.ramps import Ramp, describe_ramp, read_ramp, read_selectors
from tmt_dq.io.readout import Readout, read_readout
from tmt_dq.io.urls import Place, Url, is_url, place_of
from tmt_dq.io.user_flags import read_user_flags
from tmt_dq.notebook import as_html
from tmt_dq.step_parameters import reading_of, recipe_of

__all__ = ["DQInitStep", "FlaggedRamp"]

_NOT_APPLICABLE = "N/A"

_log = logging.getLogger(__name__)


class DQInitStep(Step):
    """Initialize the data quality of a ramp: create PIXELDQ and GROUPDQ, add the mask's flags.

    A path in, the streaming way out: the result is a `FlaggedRamp`, written without decoding the
    science data. A data model in, a new `TMTRampModel` out; the input model is not modified.
    Outputs are named ``<root>_dqinit.fits`` (a raw ``_uncal`` is replaced) and, as with every step
    of stpipe, lie in the current folder unless ``output_dir`` says otherwise, and replace what is
    there. The mask is chosen by CRDS' rules, in the cache that CRDS_PATH names or the one that
    comes with tmt-dq; no network is used.

    Examples
    --------
    >>> DQInitStep.call("ramp_uncal.fits", save_results=True)  # doctest: +SKIP
    >>> DQInitStep.call(model, override_mask="my_mask.fits")  # doctest: +SKIP
    """

    class_alias = "dq_init"
    reference_file_types: ClassVar[list[str]] = ["mask"]

    # stpipe would ask stock crds, which does not know TMT, and for the whole network of it.
    prefetch_references = False

    spec = """
        user_supplied_dq = string(default=None)  # FITS image, list or regions with flags of your own
        user_flag = string(default=None)  # Flags of the pixels in that file: HOT, or HOT|DO_NOT_USE
        user_bad = string(default=None)  # Value of bad pixels in it: a number, or nonzero
        user_good = integer(default=None)  # Value of good pixels in it
        user_values = string(default=None)  # What its bits mean: convention, or 16:HOT;4:DEAD
        user_base = integer(min=0, max=1, default=None)  # Number of the first pixel in a list
        user_at = int_list(min=2, max=2, default=None)  # 1-based X,Y on the detector of its first pixel
        user_columns = string_list(default=None)  # Columns of a list without a line of names: x,y,flag
        user_extension = string(default=None)  # FITS extension, where several could be meant
        propagate_do_not_use = boolean(default=None)  # Flag the mask's DO_NOT_USE pixels in every group
        reference_pixels = boolean(default=None)  # Flag the border of reference pixels if the mask does not
        guide_windows = string(default=None)  # Windows read for guiding: X,Y,NX,NY[,FIRST:LAST]; one after a semicolon
        guide_windows_from_file = boolean(default=None)  # Flag the guide windows that the file's table or header names
        guide_parts = string_list(default=None)  # What of guide windows to flag: box,rows,columns
        guide_expand = integer(min=0, default=None)  # Make guide windows larger by so many pixels on all sides
        missing_reads = boolean(default=None)  # Flag groups next to missing reads as DROPOUT
        dropout_values = float_list(default=None)  # Flag samples of these values as DROPOUT
        ad_floor = float(default=None)  # Flag samples at or below this value as AD_FLOOR
        full_scale = float(default=None)  # Flag samples at or above this value as SATURATED
        non_finite = boolean(default=None)  # Flag pixels with NaN or infinite values
        subarray = int_list(min=2, max=2, default=None)  # 1-based X,Y of the first pixel, where the header lacks it
        if_no_mask = option("error", "skip", "continue", default="error")  # What to do where no rule matches
        unknown = option("error", "drop", default="error")  # What to do about bits without a meaning
        output_ext = string(default=".fits")  # Type of output
        suffix = string(default="dqinit")  # Suffix of output files
    """  # noqa: E501 - a line each, as stpipe reads it

    override_mask: Any
    user_supplied_dq: str | None
    propagate_do_not_use: bool | None
    if_no_mask: Any
    subarray: list[int] | None
    unknown: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **_without_paths(kwargs))

    @classmethod
    def call(cls, *args: Any, **kwargs: Any) -> Any:
        """Run the step on an exposure.

        Parameters
        ----------
        *args
            The exposure: a path or a data model.
        **kwargs
            Parameters of the step, among them ``override_mask`` (a path, a `TMTMaskModel`, or
            "N/A" for none), ``user_supplied_dq``, ``save_results``, ``output_dir``.

        Returns
        -------
        FlaggedRamp or TMTRampModel
            The flagged exposure.
        """
        return super().call(*args, **_without_paths(kwargs))

    def run(self, *args: Any) -> Any:
        """Run the step, as stpipe does.

        Parameters
        ----------
        *args
            The exposure.

        Returns
        -------
        FlaggedRamp or TMTRampModel
            The flagged exposure.
        """
        # stpipe logs the arguments; a `Url` shows nothing secret.
        return super().run(*(place_of(arg) if is_url(arg) else arg for arg in args))

    def set_primary_input(self, obj: Any, exclusive: bool = True) -> None:  # noqa: FBT001, FBT002 - stpipe's
        """Take the name of outputs from the input (stpipe's hook)."""
        super().set_primary_input(obj.name if isinstance(obj, Url) else obj, exclusive=exclusive)

    def process(self, exposure: Any) -> Any:
        """Do the work (stpipe's hook).

        Parameters
        ----------
        exposure : path, FlaggedRamp or DataModel
            The ramp.

        Returns
        -------
        FlaggedRamp or TMTRampModel
            For a path, the exposure with all its checks done, written when it is saved; for a
            model, a new one.

        Raises
        ------
        RampFormatError, GeometryError, SelectionError, MaskFormatError
            Raised as by `tmt_dq.apply_dq`.
        ConfigError
            Raised if the input is something else, or ``override_mask`` is empty.
        """
        if isinstance(exposure, FlaggedRamp):
            exposure = exposure.model
        if isinstance(exposure, DataModel):
            return self._flag_model(exposure)
        if not isinstance(exposure, (str, os.PathLike, Url)):
            raise ConfigError(
                f"the input is {type(exposure).__name__}; expected a path or a data model",
                where=self.name,
            )
        path = self._input_place(exposure)
        if isinstance(path, Path) and path.suffix == ".asdf":
            return self._flag_model(TMTRampModel(path))
        with contextlib.ExitStack() as stack:
            stack.enter_context(names_of_fetched())
            file = stack.enter_context(open_input(path))
            if file.compressed and any(map(_tells_of_readout, file.units)):
                scratch = Path(tempfile.gettempdir())
                file = stack.enter_context(open_input(path, scratch=scratch))
            found = read_ramp(file, start=self._start())
            plan = self._plan(found.ramp, path, lambda recipe: read_readout(found, recipe))
        return FlaggedRamp(self, path, plan)

    def _input_place(self, exposure: Any) -> Place:
        place = place_of(exposure)
        return place if isinstance(place, Url) else Path(self.make_input_path(os.fspath(place)))

    def _start(self) -> tuple[int, int] | None:
        return None if self.subarray is None else (self.subarray[0], self.subarray[1])

    def _plan(self, ramp: Ramp, where: object, readout: Callable[[Recipe], Readout]) -> "_Plan":
        """Find out what applies to an exposure; everything that can be wrong is found here."""
        recipe = choose_recipe(
            ramp.instrument, recipe_of(self), propagate_do_not_use=self.propagate_do_not_use
        )
        reference: Any = _NOT_APPLICABLE
        selection = missing = mask = user = None
        try:
            reference, selection = self._choose(ramp.selectors, ramp.instrument, where)
        except NoMatchError as error:
            if self.if_no_mask == "error":
                raise
            missing = error
        name = _NOT_APPLICABLE
        if isinstance(reference, TMTMaskModel):
            mask = _as_mask(reference)
            name = str(mask.path)
        elif reference != _NOT_APPLICABLE:
            mask = read_mask(fetch(place_of(reference)), unknown=self.unknown)
            name = str(place_of(reference)) if selection is None else selection.uri
        if self.user_supplied_dq is not None:
            user = read_user_flags(
                fetch(place_of(self.user_supplied_dq)),
                ramp,
                unknown=self.unknown,
                reading=reading_of(self),
            )
        sources: list[FlagSource] = []
        if missing is None or self.if_no_mask == "continue":
            sources = gather_sources(
                ramp, where, mask, name, user, recipe=recipe, readout=readout(recipe)
            )
        record = Record(
            status="COMPLETE" if sources else "SKIPPED",
            mask=name,
            context=None if selection is None else selection.context,
            crds_version=None if selection is None else selection.crds_version,
            lines=() if missing is None else (f"no mask: {missing.what.splitlines()[0]}",),
        )
        _log.info("%s: %s, mask %s", where, record.status, record.mask)
        given = mask if isinstance(reference, TMTMaskModel) else self.override_mask
        return _Plan(record, sources, given, ramp)

    def _flag_model(self, model: DataModel) -> TMTRampModel:
        # Copied first: a model made from another one shares its arrays and, in stdatamodels 5, its
        # whole tree.
        result = model.copy()
        if not isinstance(result, TMTRampModel):
            result = TMTRampModel(result)
        where = result.meta.filename or type(model).__name__
        if result.data is None:
            raise RampFormatError("the model has no data", where=where)
        ramp = describe_ramp(_header(result), result.data.shape, where=where, start=self._start())
        result.check_shapes()
        plan = self._plan(ramp, where, lambda recipe: _readout(result, ramp, recipe, where))
        return plan.carry_out(result, where)

    def get_reference_file(self, input_file: Any, reference_file_type: str) -> Any:
        """Return the mask for an exposure.

        Parameters
        ----------
        input_file : path, FlaggedRamp or DataModel
            The exposure.
        reference_file_type : str
            "mask".

        Returns
        -------
        str or TMTMaskModel
            Path of the mask, the model given as override, or "N/A".

        Raises
        ------
        SelectionError
            Raised if no rule matches, or the reference is not in the cache.
        """
        if reference_file_type not in self.reference_file_types:
            raise ConfigError(
                f"{reference_file_type!r} is not a reference of this step; it uses "
                f"{', '.join(self.reference_file_types)}",
                where=self.name,
            )
        if isinstance(input_file, (str, os.PathLike, Url)):
            with open_input(place_of(input_file)) as file:
                instrument, header = read_selectors(file)
                return self._choose(header, instrument, place_of(input_file))[0]
        model = input_file.model if isinstance(input_file, FlaggedRamp) else input_file
        return self._choose(model.fits_keywords(), None, model.meta.filename)[0]

    def _choose(
        self, header: Mapping[str, object], instrument: Any, where: object
    ) -> tuple[Any, Any]:
        """Return the mask to use and, if the rules chose it, their selection."""
        override = self.override_mask
        if override is None:
            # Not stpipe's own way: stock crds does not know the observatory, ends the process on
            # a wrong CRDS_PATH, and stpipe takes any path that contains "n/a" for N/A.
            from tmt_dq.references.selection import select_reference

            selection = select_reference(header, instrument=instrument, where=where)
            reference = _NOT_APPLICABLE if selection.path is None else str(selection.path)
            self._reference_files_used.append(("mask", selection.uri))
            return reference, selection
        if isinstance(override, DataModel):
            if not isinstance(override, TMTMaskModel):
                override = TMTMaskModel(override)
            self._reference_files_used.append(("mask", override.override_handle))
            return override, None
        text = str(override).strip()
        if not text:
            raise ConfigError(
                "override_mask is empty; expected a file, or N/A for none", where=self.name
            )
        if is_url(override):
            self._reference_files_used.append(("mask", str(place_of(override))))
            return override, None
        wanted = text.upper() != _NOT_APPLICABLE
        reference = str(Path(text).absolute()) if wanted else _NOT_APPLICABLE
        self._reference_files_used.append(("mask", reference))
        return reference, None

    @staticmethod
    def remove_suffix(name: str) -> tuple[str, str]:
        """Return the root of a file name and the separator of its suffix (stpipe's hook)."""
        return default_output(Path(name)).name.removesuffix("_dqinit.fits"), "_"

    @staticmethod
    def get_stpipe_loggers() -> tuple[str, ...]:
        """Return the loggers that stpipe configures: not the whole process' (stpipe's hook)."""
        return ("stpipe", "tmt_dq")

    @classmethod
    def get_config_from_reference(cls, *_args: Any, **_options: Any) -> Any:
        """Return no parameters: TMT's rules have none, and stock crds would go looking for them."""
        return ConfigObj()

    @classmethod
    def _get_crds_parameters(cls, _dataset: Any) -> tuple[dict[str, Any], str]:
        # stpipe asks before it looks for parameters in CRDS, and opens the exposure for it.
        return {}, "tmt"

    @classmethod
    def _datamodels_open(cls, init: Any, **_options: Any) -> TMTRampModel:
        return init if isinstance(init, DataModel) else TMTRampModel(init)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be done to an exposure."""

    record: Record
    sources: list[FlagSource]
    mask: Any
    """For `apply_dq`: the override, None where the rules choose."""
    ramp: Ramp

    def carry_out(self, model: TMTRampModel, where: object) -> TMTRampModel:
        """Flag a model, in place."""
        if model.dq_def is not None:
            meaning = translation(defined_bits(model.dq_def, where=where), where=where)
            if not meaning.is_identity:
                raise RampFormatError(
                    "dq_def gives the bits of this ramp another meaning than the flag convention",
                    where=where,
                    hint="Translate its pixeldq and set dq_def to None, then try again.",
                )
        record = self.record
        if self.sources:
            if not (model.pixeldq.any() or model.groupdq.any()):
                record = dataclasses.replace(record, lines=(*record.lines, NO_FLAGS_BEFORE))
            model.pixeldq, model.groupdq, reports = initialize(
                model.data, self.sources, pixeldq=model.pixeldq, groupdq=model.groupdq
            )
            model.dq_def = convention_table()
            record = record.with_reports(reports)
        _say_place(model, self.ramp)
        model.meta.cal_step.dq_init = self.record.status
        model.meta.ref_file.mask.name = self.record.mask
        model.meta.calibration_software_version = SOFTWARE
        if self.record.context is not None:
            model.meta.ref_file.crds.context_used = self.record.context
            model.meta.ref_file.crds.sw_version = self.record.crds_version
        for line in history_lines(record):
            model.add_history_entry(line)
        return model


class FlaggedRamp:
    """A flagged exposure that is written straight from its input file when it is saved.

    Until something of the data model is asked for, only headers and the mask have been read, and
    `save` copies the science data byte for byte whatever their size. Asking for an array or for
    metadata (``result.pixeldq``, ``result.meta``) opens the exposure as a `TMTRampModel`; from then
    on that model, with what was changed in it, is what `save` writes.

    Parameters
    ----------
    step : DQInitStep
        The step that made it.
    path : Path
        The input.
    plan : object
        What is to be done.
    """

    def __init__(self, step: DQInitStep, path: Place, plan: _Plan) -> None:
        self._path = path
        self._plan = plan
        self._options = {
            "mask": plan.mask,
            "user_dq": step.user_supplied_dq,
            "user_reading": reading_of(step),
            "recipe": recipe_of(step),
            "subarray": step._start(),  # noqa: SLF001 - made for each other
            "propagate_do_not_use": step.propagate_do_not_use,
            "if_no_mask": step.if_no_mask,
            "unknown": step.unknown,
        }
        self._applied: Applied | None = None
        self._model: TMTRampModel | None = None

    @property
    def crds_observatory(self) -> str:
        """The observatory as CRDS calls it."""
        return "tmt"

    def get_crds_parameters(self) -> dict[str, Any]:
        """Return the metadata that CRDS' rules may ask for."""
        return dict(self.model.get_crds_parameters())

    @property
    def applied(self) -> Applied | None:
        """What `tmt_dq.apply_dq` did, once the exposure was saved."""
        return self._applied

    @property
    def status(self) -> str:
        """S_DQINIT: "COMPLETE" or "SKIPPED"."""
        return self._plan.record.status

    @property
    def model(self) -> TMTRampModel:
        """The exposure as a model: the saved file's, or made in memory where it was not saved."""
        if self._model is None:
            saved = None if self._applied is None else self._applied.output
            if isinstance(saved, Path) and saved.exists():
                self._model = TMTRampModel(saved)
            else:
                # What is elsewhere is fetched: a model may be asked for any of it.
                self._model = self._plan.carry_out(TMTRampModel(fetch(self._path)), self._path)
        return self._model

    def save(
        self,
        path: str | os.PathLike[str] | Callable[[str], str],
        dir_path: str | os.PathLike[str] | None = None,
        *,
        overwrite: bool = True,
    ) -> str:
        """Write the flagged exposure.

        Parameters
        ----------
        path : path or callable
            The file; or a function that makes one of the input's name.
        dir_path : path, optional
            Folder to save to, instead of that of `path`.
        overwrite : bool
            Whether an existing file is replaced. The input never is.

        Returns
        -------
        str
            The file.

        Raises
        ------
        OutputError
            Raised if the file cannot be written, or is the input.
        """
        target = place_of(path(self._path.name) if callable(path) else path)
        if dir_path is not None:
            target = place_of(dir_path) / target.name
        if self._model is not None or target.suffix == ".asdf":
            if isinstance(target, Url):
                raise OutputError(
                    "a model cannot be written to a URL",
                    where=target,
                    hint="Save it before anything of it is looked at, or save it here.",
                )
            check_output(target, overwrite=overwrite, inputs=_here(self._path))
            return str(self.model.save(target, overwrite=overwrite))
        self._applied = apply_dq(self._path, target, overwrite=overwrite, **self._options)
        return target.full if isinstance(target, Url) else str(target)

    def close(self) -> None:
        """Close the model, if it was opened."""
        if self._model is not None:
            self._model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<FlaggedRamp of {self._path}, {self.status}, mask {self._plan.record.mask}>"

    def _repr_html_(self) -> str:
        """Show what is to be done, or was, in a notebook, without opening the exposure."""
        if self._applied is not None:
            return self._applied._repr_html_()
        sources = [
            " ".join(part for part in (source.kind, source.origin) if part)
            for source in self._plan.sources
        ]
        lines = [f"{self._path}  {self.status} (not saved yet)", f"mask {self._plan.record.mask}"]
        return as_html([*lines, *(f"flags of {source}" for source in sources)])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.model, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            setattr(self.model, name, value)


def _here(place: Place) -> list[Path]:
    return [] if isinstance(place, Url) else [place]


def _without_paths(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return parameters with paths as text: stpipe's checks know no other."""
    return {
        name: os.fspath(value) if isinstance(value, os.PathLike) else value
        for name, value in parameters.items()
    }


def _tells_of_readout(unit: Unit) -> bool:
    """Whether the data of a unit, not its header alone, say what is to be flagged."""
    is_table = not unit.is_image and unit.name not in {"ASDF", "DQ_DEF"}
    return is_table or unit.name == "SUBARR_MAP"


def _header(model: TMTRampModel) -> dict[str, object]:
    """Return a model's keywords as those of a file are merged: SCI's where the primary has none."""
    cards = model.instance.get("extra_fits", {}).get("SCI", {}).get("header", [])
    return {**{keyword: value for keyword, value, _ in cards}, **model.fits_keywords()}


def _say_place(model: TMTRampModel, ramp: Ramp) -> None:
    """Let a subarray say itself where it lies, as in a file, where the caller had to say it."""
    window, header = ramp.window, _header(model)
    if window == Window.full(*ramp.detector.shape):
        return
    for keyword, name, number in (
        ("SUBSTRT1", "xstart", window.xstart),
        ("SUBSTRT2", "ystart", window.ystart),
        ("SUBSIZE1", "xsize", window.nx),
        ("SUBSIZE2", "ysize", window.ny),
    ):
        if header.get(keyword) is None:
            setattr(model.meta.subarray, name, number)


def _as_mask(model: TMTMaskModel) -> Mask:
    """Return a mask model as a mask file is read."""
    window = model.window
    flags = model.dq.copy()
    flags.flags.writeable = False
    subarray = model.meta.subarray
    return Mask(
        path=Path(model.meta.filename or type(model).__name__),
        dq=flags,
        window=window,
        instrument=model.meta.instrument.name,
        detector=model.meta.instrument.detector,
        orientation=(subarray.fastaxis, subarray.slowaxis),
        placed=subarray.xstart is not None and subarray.ystart is not None,
    )


def _readout(model: TMTRampModel, ramp: Ramp, recipe: Recipe, where: object) -> Readout:
    """Return what a model says of its readout, as `read_readout` does for a file."""
    if recipe.guide_windows_from_file or recipe.missing_reads:
        raise ConfigError(
            "the recipe looks at tables of the exposure's file, which a model does not have",
            where=where,
            hint="Give the step the path of the file instead of a model.",
        )
    subarr_map = model.subarr_map
    if subarr_map is None:
        return Readout()
    windows = subarray_windows(subarr_map)
    number = model.meta.subarray.id or 0
    if number == 0:
        return Readout(subarr_map=subarr_map)
    if windows.get(number) != ramp.window:
        raise GeometryError(
            f"subarr_map has no subarray {number} at {ramp.window.describe()}, where "
            "meta.subarray puts it",
            where=where,
        )
    return Readout()
