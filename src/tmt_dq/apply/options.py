"""Options of an initialization: the table from which every face takes them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from tmt_dq.core.options import Option, option_table, row, values_of
from tmt_dq.core.recipe import Recipe
from tmt_dq.errors import ConfigError
from tmt_dq.masks.reading import Reading

if TYPE_CHECKING:
    from tmt_dq.core.dq_def import Unknown
    from tmt_dq.masks.mask import Mask

# The command line makes its options from this class, and its help must not wait for NumPy.

FileName = str | PathLike[str]
IfNoMask = Literal["error", "skip", "continue"]
DQBits = Literal["all", "low16"]

NOT_APPLICABLE = "N/A"
"""Stands for a mask, in options and records, where none applies."""

_FILES = ("function", "apply", "batch")
"""Faces that take files and write outputs."""


def is_file_name(mask: object) -> TypeGuard[FileName]:
    """Tell whether a mask, or the user's flags, are given as a file's name; N/A is none."""
    if not isinstance(mask, str | PathLike):
        return False
    return str(mask).strip().upper() != NOT_APPLICABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyOptions:
    """What is to be done to an exposure and how: the keywords of `tmt_dq.apply_dq`.

    `user_reading` and `recipe` have option tables of their own (`Reading`, `Recipe`), whose rows
    the command line and the step offer one by one; as a mapping, a recipe has what differs from
    the instrument's own.
    """

    output_dir: FileName | None = row(
        None,
        "Folder of the outputs.",
        group="Output",
        kind=Path,
        metavar="DIR",
        shown_default="that of each ramp",
        faces=("function", "apply"),
    )
    overwrite: bool = row(False, "Replace existing outputs.", group="Output", faces=_FILES)
    sync: bool = row(
        True,
        "Wait until the output is safely on the disk before it gets its name.",
        group="Output",
        shown_default="sync",
        faces=_FILES,
    )
    dry_run: bool = row(
        False,
        "Do everything but write the outputs.",
        group="Output",
        faces=("function", "apply"),
    )
    mask: "FileName | Mask | None" = row(
        None,
        "Use this mask instead of the one that the rules choose; N/A for none.",
        group="Mask",
        kind=Path,
        metavar="FILE",
        step_name="override_mask",
    )
    if_no_mask: IfNoMask = row(
        "error",
        "Where no rule matches: stop, write SKIPPED, or apply the other sources.",
        group="Mask",
        kind=str,
        choices=("error", "skip", "continue"),
    )
    unknown: "Unknown" = row(
        "error",
        "What to do about mask bits that have no meaning.",
        group="Mask",
        kind=str,
        choices=("error", "drop"),
    )
    dq_bits: DQBits = row(
        "all",
        "In another pipeline's layout, whose flags have 16 bits: refuse flags that do not fit, or "
        "leave them out there (low16); PIXELDQ has all.",
        group="Output",
        kind=str,
        choices=("all", "low16"),
    )
    subarray: tuple[int, int] | None = row(
        None,
        "1-based detector position of the first pixel, where the header does not give it.",
        group="Mask",
        kind=int,
        many=True,
        size=2,
        metavar="X,Y",
    )
    user_dq: FileName | None = row(
        None,
        "Add the flags of this image, list of pixels or boxes, or region file.",
        group="Your own flags",
        kind=Path,
        metavar="FILE",
        step_name="user_supplied_dq",
    )
    user_reading: Reading | None = row(
        None,
        "How the file of user_dq is to be understood, where it does not state that itself.",
        group="Your own flags",
        kind=Reading,
        prefix="user_",
    )
    user_do_not_use: str | Iterable[str] = row(
        "instrument",
        "Flags of user_dq that set DO_NOT_USE: the instrument's, none (keep), or these.",
        group="Your own flags",
        kind=str,
        metavar="instrument|keep|NAME,...",
    )
    propagate_do_not_use: bool | None = row(
        None,
        "Set the mask's DO_NOT_USE in every group of GROUPDQ too; overrides the recipe.",
        group="More sources of flags",
        faces=("function",),
    )
    recipe: Recipe | Mapping[str, object] | None = row(
        None, "Other sources of flags.", group="More sources of flags", kind=Recipe
    )
    again: bool = row(
        False,
        "Initialize an exposure that was initialized already: keep its flags and add.",
        group="Mask",
    )
    start_over: bool = row(
        False,
        "Leave the flags of an earlier initialization out, where the record says that there were "
        "none before.",
        group="Mask",
    )
    crds_path: FileName | None = row(
        None,
        "CRDS cache.",
        group="CRDS",
        kind=Path,
        metavar="DIR",
        shown_default="TMT_DQ_CRDS_PATH or CRDS_PATH, or the one that comes with tmt-dq",
        faces=_FILES,
    )
    context: str | None = row(
        None,
        "CRDS context, for example tmt_0001.pmap.",
        group="CRDS",
        kind=str,
        metavar="NAME",
        shown_default="TMT_DQ_CRDS_CONTEXT or CRDS_CONTEXT, or the newest of the cache",
        faces=_FILES,
    )

    def named_files(self) -> list[Path]:
        """Return the files with flags that are named here."""
        names = [self.mask, self.user_dq]
        return [Path(name) for name in names if is_file_name(name)]

    def __post_init__(self) -> None:
        if self.again and self.start_over:
            raise ConfigError("again and start_over are both given; expected one of them")
        if self.user_reading is not None and self.user_dq is None:
            what = "options for a file of your own flags are given, but no such file"
            hint = "Name the file, or leave these options out."
            raise ConfigError(what, hint=hint, options=("user_dq",))
        if not isinstance(self.user_do_not_use, str):
            object.__setattr__(self, "user_do_not_use", tuple(self.user_do_not_use))
        # Any other word would quietly be taken for the milder choice.
        for name, option in option_table(ApplyOptions).items():
            value = getattr(self, name)
            if option.choices and value not in option.choices:
                raise ConfigError(
                    f"{name} is {value!r}; expected one of {', '.join(option.choices)}"
                )


def given_options(find: Callable[[str, Option], Any], face: str) -> dict[str, Any]:
    """Return what a face was given, as keywords of `apply_dq`; `find` as for `values_of`."""
    given = values_of(ApplyOptions, find, face=face)
    if "user_reading" in given:
        given["user_reading"] = Reading(**given["user_reading"])
    return given
