"""DQ initialization as a step of stpipe: ``DQInitStep.call``, ``strun tmt-dq::dq_init``."""

import contextlib
import logging
import os
import sys
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from stpipe import Step, config_parser
from stpipe.exceptions import StpipeExitException

from tmt_dq.apply.options import NOT_APPLICABLE, ApplyOptions
from tmt_dq.apply.plan import Plan, plan_exposure
from tmt_dq.datamodels import is_data_model
from tmt_dq.errors import ConfigError, MaskFormatError, TmtDqError
from tmt_dq.exposures.earlier import begin
from tmt_dq.exposures.ramp import read_ramp
from tmt_dq.files import remote
from tmt_dq.files.names import default_output
from tmt_dq.files.urls import is_url
from tmt_dq.fits.file import open_input
from tmt_dq.fits.layout import Unit
from tmt_dq.step.flagged_ramp import FlaggedRamp
from tmt_dq.step.parameters import parameters_of, spec_of

if TYPE_CHECKING:
    from tmt_dq.datamodels import TMTRampModel

_log = logging.getLogger(__name__)


class _StrunError(StpipeExitException):
    """An error that strun shows in one message, without a traceback, and its exit status."""

    def __str__(self) -> str:
        return str(self.__cause__)


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

    spec = f"""
{spec_of()}
    output_ext = string(default=".fits")  # Type of output
    suffix = string(default="dqinit")  # Suffix of output files
    """

    override_mask: Any
    subarray: list[int] | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **_without_paths(kwargs))

    @classmethod
    def call(cls, *args: Any, **kwargs: Any) -> Any:
        """Run the step on an exposure.

        Parameters
        ----------
        *args
            The exposure: a path, a URL or a data model.
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
        """Run the step; a URL is fetched, and its copy kept as long as the result."""
        try:
            with contextlib.ExitStack() as stack:
                local = remote.local
                paths = [stack.enter_context(local(arg)) if is_url(arg) else arg for arg in args]
                result = super().run(*paths)
                if any(map(is_url, args)):
                    weakref.finalize(result, stack.pop_all().close)
        except TmtDqError as error:
            if Path(sys.argv[0]).stem == "strun":
                raise _StrunError(error.exit_code) from error
            raise
        return result

    def process(self, exposure: Any) -> Any:
        """Return the flagged exposure (stpipe's hook): for a path, one that `save` writes."""
        if isinstance(exposure, FlaggedRamp):
            exposure = exposure.model
        if is_data_model(exposure):
            return self._flag_model(exposure)
        if not isinstance(exposure, (str, os.PathLike)):
            raise ConfigError(
                f"the input is {type(exposure).__name__}; expected a path or a data model",
                where=self.name,
            )
        path = Path(self.make_input_path(os.fspath(exposure)))
        if path.suffix == ".asdf":
            return self._flag_model(self._datamodels_open(path))
        options = self._options()
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open_input(path))
            if file.compressed and any(map(_tells_of_readout, file.units)):
                scratch = Path(tempfile.gettempdir())
                file = stack.enter_context(open_input(path, scratch=scratch))
            exposure = read_ramp(file, start=options.subarray)
            exposure = begin(exposure, again=options.again, start_over=options.start_over)
            plan = plan_exposure(exposure, options)
        self._note(plan, path)
        return FlaggedRamp(path, plan, options)

    def _options(self) -> ApplyOptions:
        """Return what the parameters ask for."""
        mask = self._given_mask()
        if is_data_model(mask):
            from tmt_dq.step.models import as_mask

            mask = as_mask(mask)
        given = {**parameters_of(self), "mask": mask}
        if is_url(given.get("user_dq")):
            given["user_dq"] = remote.fetch(given["user_dq"])
        return ApplyOptions(**given)

    def _flag_model(self, model: Any) -> "TMTRampModel":
        from tmt_dq.step.models import flag_model

        result, plan = flag_model(model, self._options())
        self._note(plan, result.meta.filename or type(model).__name__)
        return result

    def _note(self, plan: Plan, where: object) -> None:
        """Tell the log, and stpipe, what an exposure gets."""
        _log.info("%s: %s, mask %s", where, plan.record.status, plan.record.mask)
        mask = self._given_mask()
        if is_data_model(mask):
            self._reference_files_used.append(("mask", mask.override_handle))
        elif mask is not None or plan.selection is not None:
            self._reference_files_used.append(("mask", plan.record.mask))

    def get_reference_file(self, input_file: Any, reference_file_type: str) -> Any:
        """Return the path of an exposure's mask, the model given as override, or "N/A"."""
        if reference_file_type not in self.reference_file_types:
            raise ConfigError(
                f"{reference_file_type!r} is not a reference of this step; it uses "
                f"{', '.join(self.reference_file_types)}",
                where=self.name,
            )
        mask = self._given_mask()
        if mask is not None:
            if not is_data_model(mask) and mask != NOT_APPLICABLE and not Path(mask).is_file():
                hint = "Correct override_mask."
                raise MaskFormatError("there is no such file", where=mask, hint=hint)
            name = mask.override_handle if is_data_model(mask) else remote.name_of(mask)
            self._reference_files_used.append(("mask", name))
            return mask
        # Not stpipe's own way: stock crds does not know the observatory, ends the process on a
        # wrong CRDS_PATH, and stpipe takes any path that contains "n/a" for N/A.
        from tmt_dq.references.selection import select_mask, select_reference

        if isinstance(input_file, (str, os.PathLike)):
            selection = select_mask(input_file)
        else:
            model = input_file.model if isinstance(input_file, FlaggedRamp) else input_file
            selection = select_reference(model.fits_keywords(), where=model.meta.filename)
        self._reference_files_used.append(("mask", selection.uri))
        return NOT_APPLICABLE if selection.path is None else str(selection.path)

    def _given_mask(self) -> Any:
        """Return ``override_mask`` as a model, a path or "N/A"; None where there is none."""
        override = self.override_mask
        if override is None:
            return None
        if is_data_model(override):
            from tmt_dq.datamodels import TMTMaskModel

            return override if isinstance(override, TMTMaskModel) else TMTMaskModel(override)
        text = str(override).strip()
        if not text:
            raise ConfigError(
                "override_mask is empty; expected a file, or N/A for none", where=self.name
            )
        if text.upper() == NOT_APPLICABLE:
            return NOT_APPLICABLE
        return str(remote.fetch(text).absolute())

    # --- stpipe's hooks ---------------------------------------------------------------------

    @staticmethod
    def remove_suffix(name: str) -> tuple[str, str]:
        """Return the root of a file name and the separator of its suffix."""
        return default_output(Path(name)).name.removesuffix("_dqinit.fits"), "_"

    @staticmethod
    def get_stpipe_loggers() -> tuple[str, ...]:
        """Return the loggers that stpipe configures: not the whole process'."""
        return ("stpipe", "tmt_dq")

    @classmethod
    def get_config_from_reference(cls, *_args: Any, **_options: Any) -> Any:
        """Return no parameters: TMT's rules have none, and stock crds would go looking for them."""
        return config_parser.ConfigObj()

    @classmethod
    def _get_crds_parameters(cls, _dataset: Any) -> tuple[dict[str, Any], str]:
        # stpipe asks before it looks for parameters in CRDS, and opens the exposure for it.
        return {}, "tmt"

    @classmethod
    def _datamodels_open(cls, init: Any, **_options: Any) -> Any:
        from tmt_dq.datamodels import TMTRampModel

        return init if is_data_model(init) else TMTRampModel(init)


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
