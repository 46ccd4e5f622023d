"""Changes of a cache that happen as a whole, or not at all, whatever kills the process.

A change is a list of steps, each of which gives one file a new state. It is written down
(``plan.json``) before the first step. One step is the decisive one: readers see the old cache
before it and the new one after it, because no file that the steps before it add is referred to by
anything. Whoever next takes the lock finds the plan of a change that was interrupted and completes
it if the decisive step was done, or takes it back if not.
"""

import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tmt_dq.errors import DeliveryError
from tmt_dq.files.atomic import AtomicOutput, output_errors
from tmt_dq.files.copying import copy_range, write_all
from tmt_dq.references.checksums import file_sha256

__all__ = ["FOLDER", "Step", "carry_out", "is_pending", "recover", "staging_folder"]

FOLDER = ".tmt-dq"
"""Where a cache's changes are prepared; empty but for the lock when nothing is going on."""

_PLAN = "plan.json"
_STAGING = "change-"
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}


@dataclass(frozen=True, slots=True)
class Step:
    """One file's new state.

    Parameters
    ----------
    target : str
        The file, relative to the cache.
    after : str or None
        sha256 of its content afterwards; None if it is gone then.
    before : str or None
        sha256 of its content before; None if it was not there.
    kept : str or None
        For a file that goes: where it is moved to, relative to the cache.
    decisive : bool
        Whether this step makes the change happen.
    """

    target: str
    after: str | None
    before: str | None = None
    kept: str | None = None
    decisive: bool = False


@contextlib.contextmanager
def staging_folder(root: Path) -> Iterator[Path]:
    """Yield a new folder in the cache, in which a change is prepared; removed at the end.

    A change that could be neither completed nor taken back leaves its plan; then the folder stays,
    for `recover`.
    """
    with output_errors(root):
        # Not mkdtemp: another member of the group may have to clean up.
        folder = root / FOLDER / f"{_STAGING}{secrets.token_hex(4)}"
        folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        if not (folder / _PLAN).exists():
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a prepared change: the plan first, for without it the rest means nothing."""
    (folder / _PLAN).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def carry_out(root: Path, staging: Path, steps: Sequence[Step]) -> None:
    """Carry out a change; the caller has the lock.

    Parameters
    ----------
    root : Path
        The cache.
    staging : Path
        A `staging_folder` with the new content of each step's file at the file's place.
    steps : sequence of Step
        What to do, in this order; one of them is decisive.

    Raises
    ------
    DeliveryError
        Raised if a file is not in the state that the steps expect.
    OutputError
        Raised if the system refuses. In both cases the cache is as it was, unless the decisive step
        was done or the system refuses that, too; what is left to do then is for `recover`.
    """
    for step in steps:
        if step.before is not None and step.after is not None:
            # What is replaced is needed to take the change back.
            _place(root / step.target, _saved(staging, step))
    with AtomicOutput(staging / _PLAN) as out:
        write_all(out.fd, json.dumps([asdict(step) for step in steps]).encode(), 0)
    try:
        for step in steps:
            _perform(root, staging, step)
    except BaseException:
        _settle(root, staging, steps)
        (staging / _PLAN).unlink()
        raise
    (staging / _PLAN).unlink()


def recover(root: Path) -> None:
    """Complete or take back what other processes left when they were killed.

    Parameters
    ----------
    root : Path
        The cache, whose lock the caller has.
    """
    for staging in sorted((root / FOLDER).glob(f"{_STAGING}*")):
        with output_errors(staging):
            if (staging / _PLAN).exists():
                _settle(root, staging, _read_plan(staging / _PLAN))
        _remove(staging)


def is_pending(root: Path) -> bool:
    """Whether something was left in a cache for `recover`, or is being done to it right now."""
    return any((root / FOLDER).glob(f"{_STAGING}*"))


def _read_plan(path: Path) -> list[Step]:
    """Read a plan, and make sure that it stays inside of the cache."""
    try:
        steps = [Step(**step) for step in json.loads(path.read_text("utf-8"))]
        for step in steps:
            for name in (step.target, step.kept or "kept"):
                if Path(name).is_absolute() or ".." in Path(name).parts:
                    raise ValueError(f"{name!r} is not in the cache")  # noqa: TRY301
        if sum(step.decisive for step in steps) != 1:
            raise ValueError("it has not one decisive step")  # noqa: TRY301
    except (ValueError, TypeError, RecursionError) as error:
        raise DeliveryError(
            f"an earlier delivery was interrupted, and its plan cannot be trusted: {error}",
            where=path,
            hint=f"Look at the cache, then remove the folder {path.parent}.",
        ) from error
    return steps


def _settle(root: Path, staging: Path, steps: Sequence[Step]) -> None:
    """Complete a change if its decisive step was done, take it back if not."""
    decisive = next(step for step in steps if step.decisive)
    with output_errors(root):
        if _sha256(root / decisive.target) == decisive.after:
            for step in steps:
                if _sha256(root / step.target) != step.after:
                    _perform(root, staging, step)
        else:
            for step in reversed(steps):
                _take_back(root, staging, step)


def _perform(root: Path, staging: Path, step: Step) -> None:
    target = root / step.target
    with output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if step.after is None:
            assert step.kept is not None
            if target.exists():
                (root / step.kept).parent.mkdir(parents=True, exist_ok=True)
                _move(target, root / step.kept)
        elif step.before is None:
            _place(staging / step.target, target)
        else:
            _replace(staging / step.target, target)
        _sync_folder(target.parent)


def _take_back(root: Path, staging: Path, step: Step) -> None:
    target = root / step.target
    if step.after is None:
        assert step.kept is not None
        if not target.exists() and (root / step.kept).exists():
            _move(root / step.kept, target)
    elif _sha256(target) == step.after:
        if step.before is None:
            target.unlink()
        else:
            _replace(_saved(staging, step), target)
    if target.parent.is_dir():
        _sync_folder(target.parent)


def _saved(staging: Path, step: Step) -> Path:
    """Return where the content that a step replaces is kept."""
    return staging / "before" / step.target


def _place(source: Path, target: Path) -> None:
    """Give a complete file a second name, which must be free; copy it where that cannot be.

    Parameters
    ----------
    source : Path
        A file that is on the disk.
    target : Path
        The new name; folders above it are made.

    Raises
    ------
    DeliveryError
        Raised if the name is taken.
    """
    with output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except FileExistsError:
            raise DeliveryError(
                "appeared while the delivery was prepared",
                where=target,
                hint="Something else writes into this cache; try again.",
            ) from None
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            _copy(source, target, overwrite=False)


def _replace(source: Path, target: Path) -> None:
    """Let a file have another's content, in one step; the other stays."""
    # A name beside the source, where it is cleaned up should the process die before it is used.
    second = source.with_name(f"{source.name}.second")
    second.unlink(missing_ok=True)
    try:
        os.link(source, second)
        os.replace(second, target)
    except OSError as error:
        second.unlink(missing_ok=True)
        if error.errno not in _NO_LINK:
            raise
        _copy(source, target, overwrite=True)


def _move(source: Path, target: Path) -> None:
    """Move a file, to another file system too."""
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target, overwrite=True)
        source.unlink()
    _sync_folder(target.parent)


def _copy(source: Path, target: Path, *, overwrite: bool) -> None:
    with source.open("rb") as file, AtomicOutput(target, overwrite=overwrite) as out:
        size = os.fstat(file.fileno()).st_size
        copy_range(file.fileno(), 0, out.fd, 0, size, where=source)


def _sha256(path: Path) -> str | None:
    """Return a file's sha256, None if it is not there."""
    try:
        return file_sha256(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _sync_folder(folder: Path) -> None:
    """Make names in a folder survive a power failure."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
