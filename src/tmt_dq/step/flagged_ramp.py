"""What the step gives for a path: an exposure that is written straight from its file."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tmt_dq.apply.options import ApplyOptions
from tmt_dq.apply.output import Applied, open_output
from tmt_dq.apply.plan import Plan
from tmt_dq.errors import RampFormatError
from tmt_dq.exposures.layouts import refuse_layout
from tmt_dq.files import remote
from tmt_dq.files.atomic import check_output
from tmt_dq.files.identity import identify
from tmt_dq.files.urls import is_url, redacted
from tmt_dq.tables import as_html

if TYPE_CHECKING:
    from tmt_dq.datamodels import TMTRampModel


class FlaggedRamp:
    """A flagged exposure that is written straight from its input file when it is saved.

    Until something of the data model is asked for, only headers and the mask have been read, and
    `save` copies the science data byte for byte whatever their size. Asking for an array or for
    metadata (``result.pixeldq``, ``result.meta``) opens the exposure as a `TMTRampModel`; from then
    on that model, with what was changed in it, is what `save` writes.
    """

    def __init__(self, path: Path, plan: Plan, options: ApplyOptions) -> None:
        self._path = path
        self._plan = plan
        self._options = options
        self._planned = identify(path)
        self._applied: Applied | None = None
        self._model: Any = None

    @property
    def crds_observatory(self) -> str:
        """The observatory as CRDS calls it."""
        return (self._plan.selection or self._plan.ramp.instrument).observatory

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
    def model(self) -> "TMTRampModel":
        """The exposure as a model: the saved file's, or made in memory where it was not saved."""
        if self._model is None:
            from tmt_dq.datamodels import TMTRampModel
            from tmt_dq.step.models import carry_out

            hint = "Save the result, and open it with that pipeline."
            refuse_layout(self._plan.ramp.layout, "a model", where=self._path, hint=hint)
            saved = None if self._applied is None else self._applied.output
            if isinstance(saved, Path) and saved.exists():
                self._model = TMTRampModel(saved)
            else:
                self._model = carry_out(self._plan, TMTRampModel(self._path), self._path)
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
        path : path, URL or callable
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
        name = path(self._path.name) if callable(path) else path
        if dir_path is not None:
            name = Path(dir_path) / Path(name).name
        if not is_url(name):
            return self._write(Path(name), overwrite=overwrite)
        url = str(name)
        remote.check_output(url, overwrite=overwrite, inputs=[remote.name_of(self._path)])
        with remote.sent(url, overwrite=overwrite) as target:
            self._write(target, overwrite=overwrite)
        if self._applied is not None:
            self._applied = dataclasses.replace(self._applied, output=redacted(url))
        return redacted(url)

    def _write(self, target: Path, *, overwrite: bool) -> str:
        """Write the flagged exposure to a local file."""
        if self._model is not None or target.suffix == ".asdf":
            check_output(target, overwrite=overwrite, inputs=[self._path])
            return str(self.model.save(target, overwrite=overwrite))
        options = dataclasses.replace(self._options, overwrite=overwrite)
        with open_output(self._path, target, options) as output:
            if identify(self._path) != self._planned:
                raise RampFormatError(
                    "changed since it was read",
                    where=self._path,
                    hint="Run the step again, on the file as it is now.",
                )
            self._applied = output.write(self._plan)
        return str(target)

    def close(self) -> None:
        """Close the model, if it was opened."""
        if self._model is not None:
            self._model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        name, mask = remote.name_of(self._path), self._plan.record.mask
        return f"<FlaggedRamp of {name}, {self.status}, mask {mask}>"

    def _repr_html_(self) -> str:
        """Show what is to be done, or was, in a notebook, without opening the exposure."""
        if self._applied is not None:
            return self._applied._repr_html_()
        name = remote.name_of(self._path)
        lines = [f"{name}  {self.status} (not saved yet)", f"mask {self._plan.record.mask}"]
        return as_html([*lines, *(f"flags of {source.kind}" for source in self._plan.sources)])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.model, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            setattr(self.model, name, value)
