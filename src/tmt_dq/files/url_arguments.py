"""URLs among the arguments of a function: staged for the call."""

import contextlib
import dataclasses
import functools
import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from tmt_dq.files import remote
from tmt_dq.files.atomic import check_output
from tmt_dq.files.names import default_place
from tmt_dq.files.urls import local_path

P = ParamSpec("P")
R = TypeVar("R")


def staged(
    *inputs: str, kept: Sequence[str] = (), output: bool = False
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let these parameters of a function be URLs; the function itself is called with paths.

    Files of `kept` are fetched once a process. With `output`, the parameters "output" and
    "output_dir" may be URLs too. The argument "fsspec_kwargs" holds for all of them.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        sources = (*inputs, *kept)
        wanted = (*sources, "output", "output_dir") if output else sources

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = signature.bind(*args, **kwargs)
            given = bound.arguments
            named = [name for name in wanted if isinstance(given.get(name), str | os.PathLike)]
            if all(local_path(given[name]) == Path(given[name]) for name in named):
                return function(*args, **kwargs)
            options = given.get("fsspec_kwargs")
            with contextlib.ExitStack() as stack:
                folder = None
                if output:
                    origins = [str(given[name]) for name in named if name in sources]
                    folder = _stage_output(given, origins, stack)
                for name in named:
                    if name in inputs:
                        copy = remote.local(
                            given[name], fsspec_kwargs=options, folder=folder, copies=1 + output
                        )
                        given[name] = stack.enter_context(copy)
                    elif name in kept:
                        given[name] = remote.fetch(given[name], options)
                return _shown(function(*bound.args, **bound.kwargs))

        return call

    return decorate


def _stage_output(
    given: dict[str, Any], sources: list[str], stack: contextlib.ExitStack
) -> Path | None:
    """Give a function the path of its output, checked already; return its folder."""
    if given.get("output") is not None and given.get("output_dir") is not None:
        return None  # an error of the caller, which the function names
    options, overwrite = given.get("fsspec_kwargs"), bool(given.get("overwrite"))
    target = given.get("output") or default_place(sources[0], given.pop("output_dir", None))
    path = local_path(target)
    if path is None:
        url = str(target)
        remote.check_output(url, overwrite=overwrite, inputs=sources, fsspec_kwargs=options)
        path = stack.enter_context(remote.sent(url, overwrite=overwrite, fsspec_kwargs=options))
    else:
        check_output(path, overwrite=overwrite)
    given["output"] = path
    return path.parent


def _shown(result: R) -> R:
    """Return a result whose fields name remote files by their URLs."""
    if not dataclasses.is_dataclass(result) or isinstance(result, type):
        return result
    values = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    urls = {
        name: remote.name_of(value)
        for name, value in values.items()
        if isinstance(value, str | Path) and remote.name_of(value) != str(value)
    }
    return dataclasses.replace(result, **urls)
