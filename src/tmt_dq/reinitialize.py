"""Initializes an exposure again: its flags are taken back, and those of the new mask given."""

import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tmt_dq.apply.apply import Applied, Initializer
from tmt_dq.apply.output import Written, write_exposure
from tmt_dq.apply.plan import Request, gather_sources
from tmt_dq.core.dq_def import Unknown
from tmt_dq.core.initialize import Initialization
from tmt_dq.core.sources.source import FlagSource
from tmt_dq.delivery.affected import recorded_mask
from tmt_dq.errors import ConfigError, GeometryError, TmtDqError, UnexplainedFlagsError
from tmt_dq.exposures.history import NO_FLAGS_BEFORE, REPLACED
from tmt_dq.exposures.ramp import RampFile, read_ramp
from tmt_dq.exposures.readout import read_readout
from tmt_dq.exposures.record import Record
from tmt_dq.files.atomic import AtomicOutput, check_output, output_errors
from tmt_dq.fits.file import FitsInput, open_input
from tmt_dq.fits.writer import UnitWriter
from tmt_dq.io.inplace import InPlaceWriter, locked
from tmt_dq.io.recorded import Recorded, RestoredInput, read_record
from tmt_dq.io.verification import compare_flags, has_flags, take_away
from tmt_dq.masks.mask import Mask, read_mask
from tmt_dq.masks.reading import Reading
from tmt_dq.masks.user_flags import read_user_flags

__all__ = ["reinitialize_dq"]

PathLike = str | os.PathLike[str]

_FROM_RAW = (
    "Process the raw ramp afresh (tmt-dq batch RAMP --output-dir DIR). In Python, raw= names it, "
    "which says what flags it had."
)


def reinitialize_dq(  # noqa: PLR0913 - the options of the verb, keyword-only
    exposure: PathLike,
    output: PathLike | None = None,
    *,
    in_place: bool = False,
    raw: PathLike | None = None,
    mask: PathLike | Mask | None = None,
    user_dq: PathLike | None = None,
    user_reading: Reading | None = None,
    subarray: tuple[int, int] | None = None,
    unknown: Unknown | None = None,
    overwrite: bool = False,
    crds_path: PathLike | None = None,
    context: str | None = None,
    old_crds_path: PathLike | None = None,
    sync: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Applied:
    """Give an initialized exposure the flags of another mask in place of those it has.

    The result has the flags that the raw ramp would get if it were processed now, with the same
    recipe and the same flags of the user. That is made sure of first: the flags that the exposure
    has must be, pixel by pixel, those that the sources named in its HISTORY give, and it must be
    on record that it had none before; otherwise nothing is written.

    Parameters
    ----------
    exposure : path
        An output of `apply_dq`.
    output : path, optional
        The file to write.
    in_place : bool
        Whether the exposure itself is changed; no science data are copied. It is as it was, or
        complete, whatever happens; an interrupted run is taken back by the next one.
    raw : path, optional
        The raw ramp that the exposure was made of: flags that it had of its own are those to
        begin with.
    mask : path or Mask, optional
        The mask to use instead of the one that CRDS' rules choose.
    user_dq : path, optional
        The flags of the user that were applied before; looked for beside the exposure if not
        given. They must be the same, by their sha256.
    user_reading : Reading, optional
        What that file does not say itself, as it was said before.
    subarray : tuple of int, optional
        1-based x and y of the first pixel on the detector, where the header does not say.
    unknown : {"error", "drop"}, optional
        What to do about bits and DQ_DEF names without a meaning; by default as before.
    overwrite : bool
        Whether an existing output is replaced.
    crds_path, context : optional
        The new rules, as in `tmt_dq.select_mask`.
    old_crds_path : path, optional
        CRDS cache that has the mask it was made with, if it is another one.
    sync, progress : optional
        As in `tmt_dq.apply_dq`.

    Returns
    -------
    Applied
        What was done, with the exposure as input.

    Raises
    ------
    UnexplainedFlagsError
        Raised if the flags cannot be shown to be those of the sources that the exposure names:
        another step added some, it was initialized twice, a source cannot be had again.
    ConfigError
        Raised if neither or both of `output` and `in_place` are given.
    RampFormatError, GeometryError, SelectionError, MaskFormatError, OutputError
        Raised as by `tmt_dq.apply_dq`.

    Examples
    --------
    >>> from tmt_dq import reinitialize_dq
    >>> reinitialize_dq("iris_0001_dqinit.fits", in_place=True)  # doctest: +SKIP
    """
    if in_place == (output is not None):
        raise ConfigError(
            "expected in_place or an output, one of them",
            hint="in_place=True changes the exposure itself.",
        )
    path = Path(exposure)
    asked = _Asked(path, mask, user_dq, user_reading, subarray, unknown, old_crds_path or crds_path)
    with ExitStack() as stack:
        own = None
        if raw is not None:
            file = stack.enter_context(open_input(Path(raw), scratch=_scratch(path)))
            own = read_ramp(file, start=subarray)
        if in_place:
            fd = stack.enter_context(locked(path))
            file = stack.enter_context(open_input(path))
            if file.compressed:
                raise ConfigError(
                    "a compressed file cannot be changed in place",
                    where=path,
                    hint="Expand it first, or write an output of its own.",
                )
            return asked.run(file, own, path, InPlaceWriter(fd, progress), crds_path, context)
        target = Path(output or "")
        inputs = [path] if raw is None else [path, Path(raw)]
        check_output(target, overwrite=overwrite, inputs=inputs)

        def write(found: RampFile, sources: Sequence[FlagSource], record: Record) -> Written:
            with (
                AtomicOutput(target, overwrite=overwrite, sync=sync) as out,
                output_errors(target),
            ):
                writer = UnitWriter(out.fd, progress=progress, writeback=sync)
                return write_exposure(found, sources, record, target, writer)

        file = stack.enter_context(open_input(path, scratch=target.parent, progress=progress))
        return asked.run(file, own, target, write, crds_path, context)


def _scratch(path: Path) -> Path:
    """Return a folder for the expansion of a compressed ramp."""
    return path.parent if os.access(path.parent, os.W_OK) else Path(tempfile.gettempdir())


_Writer = Callable[[RampFile, Sequence[FlagSource], Record], Written]


@dataclass(slots=True)
class _Asked:
    """What is asked for, and what the exposure says of its flags."""

    path: Path
    mask: PathLike | Mask | None
    user_dq: PathLike | None
    user_reading: Reading | None
    subarray: tuple[int, int] | None
    unknown: Unknown | None
    old_cache: PathLike | None

    def run(
        self,
        file: FitsInput,
        raw: RampFile | None,
        target: Path,
        write: _Writer,
        crds_path: PathLike | None,
        context: str | None,
    ) -> Applied:
        """Look at the exposure, explain its flags, have the new ones written."""
        said = self._record(file)
        restored = RestoredInput.of(file, keep_context=self.mask is None)
        present = read_ramp(restored, start=self.subarray)
        if raw is not None:
            _check_raw(present, raw)
        own = dataclasses.replace(present, pixeldq=None, groupdq=None) if raw is None else raw
        begun = dataclasses.replace(present, own=own)
        user_dq = self._user_dq(said)
        old = Initialization(self._old_sources(begun, said, user_dq), image=present.ramp.is_image)
        self._explain(begun, old, said)
        flagless = said.no_flags_before or (
            raw is not None
            and not any(has_flags(raw.file, unit) for unit in (raw.pixeldq, raw.groupdq))
        )

        def checked(found: RampFile, sources: Sequence[FlagSource], record: Record) -> Written:
            new = Initialization(sources, image=present.ramp.is_image)
            self._check_new(begun, old, new, known=raw is not None or said.no_flags_before)
            lines = tuple(line for line in record.lines if line != NO_FLAGS_BEFORE)
            lines += (NO_FLAGS_BEFORE,) if flagless else ()
            lines += tuple(REPLACED + outcome for outcome in (*said.replaced, said.outcome))
            found = dataclasses.replace(found, own=own)
            return write(found, sources, dataclasses.replace(record, lines=lines))

        request = Request(
            mask=self.mask,
            user_dq=user_dq,
            user_reading=self.user_reading,
            recipe=said.recipe,
            unknown=self._unknown(said),
            crds_path=crds_path,
            context=context,
        )
        job = Initializer(self.path, request, self.subarray)
        return job.run(restored, target, checked)

    def _record(self, file: FitsInput) -> Recorded:
        said = read_record(file)
        if said is None:
            raise UnexplainedFlagsError(
                "was not initialized yet", where=self.path, hint="Use tmt-dq apply (apply_dq)."
            )
        if said.status != "COMPLETE" or said.mask == "N/A":
            raise UnexplainedFlagsError(
                f"was initialized without a mask ({said.outcome}): which sources a mask would have "
                "had beside it is not on record",
                where=self.path,
                hint="Process the raw ramp.",
            )
        return said

    def _unknown(self, said: Recorded) -> Unknown:
        return self.unknown or ("drop" if said.drops_unknown else "error")

    def _user_dq(self, said: Recorded) -> Path | None:
        """Return the user's flags that were applied, made sure to be the same."""
        if said.user_dq is None:
            if self.user_dq is not None:
                raise ConfigError(
                    "user DQ is given, but the exposure was made without",
                    where=self.path,
                    hint="Process the raw ramp with it.",
                )
            return None
        name, expected = said.user_dq
        path = self.path.parent / name if self.user_dq is None else Path(self.user_dq)
        try:
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise UnexplainedFlagsError(
                f"its flags are also those of {name}, which cannot be read ({error.strerror})",
                where=self.path,
                hint=f"Looked for {path}. Name the file: --user-dq (user_dq=).",
            ) from error
        if found != expected:
            raise UnexplainedFlagsError(
                f"its flags are also those of {name} with the sha256 {expected}; "
                f"{path} has {found}",
                where=self.path,
                hint="Name the file as it was then: --user-dq (user_dq=).",
            )
        return path

    def _old_sources(
        self, begun: RampFile, said: Recorded, user_dq: Path | None
    ) -> list[FlagSource]:
        """Return the sources that the exposure names."""
        ramp = begun.ramp
        drop: Unknown = "drop" if said.drops_unknown else "error"
        try:
            path = recorded_mask(said.mask, ramp.instrument, self.old_cache)
            mask = read_mask(path, unknown=drop)
            user = None
            if user_dq is not None:
                user = read_user_flags(user_dq, ramp, unknown=drop, reading=self.user_reading)
            readout = read_readout(begun, said.recipe)
            return gather_sources(
                ramp, self.path, mask, said.mask, user, recipe=said.recipe, readout=readout
            )
        except TmtDqError as error:
            raise UnexplainedFlagsError(
                f"the sources of its flags cannot be had again: {error}",
                where=self.path,
                hint="Process the raw ramp. A cache that has the old mask can be named with "
                "--old-crds-path (old_crds_path=).",
            ) from error

    def _explain(self, begun: RampFile, old: Initialization, said: Recorded) -> None:
        """Make sure that the sources on record give the flags that are there."""
        difference = compare_flags(begun, old)
        if difference:
            raise UnexplainedFlagsError(
                f"its flags are not those of the sources on record: {difference.describe()}",
                where=self.path,
                hint=_FROM_RAW,
            )
        if not said.agrees(old.reports()):
            now = "\n".join(f"  {report.describe()}" for report in old.reports())
            recorded = "\n".join(f"  {line}" for line in said.lines)
            raise UnexplainedFlagsError(
                f"its HISTORY says\n{recorded}\nbut the same sources give\n{now}",
                where=self.path,
                hint="Process the raw ramp.",
            )

    def _check_new(
        self, begun: RampFile, old: Initialization, new: Initialization, *, known: bool
    ) -> None:
        """Make sure that new flags can take the place of the old ones."""
        if old.touches_groups and not new.touches_groups:
            raise UnexplainedFlagsError(
                "its groups have flags that new sources would not touch",
                where=self.path,
                hint="Process the raw ramp.",
            )
        if not known and take_away(begun, old, new):
            raise UnexplainedFlagsError(
                "the new mask takes flags back, and whether the exposure had them before it was "
                "initialized is not on record",
                where=self.path,
                hint=_FROM_RAW,
            )


def _check_raw(present: RampFile, raw: RampFile) -> None:
    """Make sure that a raw ramp can be the one that an exposure was made of."""
    theirs, ours = raw.ramp, present.ramp
    if (theirs.shape, theirs.window, dict(theirs.selectors)) != (
        ours.shape,
        ours.window,
        dict(ours.selectors),
    ) or raw.sci.header.to_bytes() != present.sci.header.to_bytes():
        raise GeometryError(
            f"is not the ramp that {present.file.path} was made of",
            where=raw.file.path,
            hint="Name the raw ramp itself.",
        )
