"""The package crds, imported in one place and made to know our observatories, with no fork.

crds has no plugin mechanism: its observatories are sub-packages of its own and a list of names. The
adapter puts modules built from data (`tmt_dq.references.observatories`) where crds looks for them
and appends to the list in place, since every module of crds shares it. Nothing else is changed.
"""

import contextlib
import functools
import importlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from tmt_dq import instruments
from tmt_dq.errors import ConfigError
from tmt_dq.references import observatories

LOCK = threading.RLock()
"""Held while crds is imported and while it works: crds does not claim thread safety."""

_CACHES = (
    "observatory_instrument_tuples",
    "get_all_instrument_fixers",
    "instrument_to_observatory",
)
"""Functions of crds.core.utils that remember what the observatories are."""


def register() -> None:
    """Make the package ``crds`` know our observatories, once in every process that uses it.

    >>> register()
    >>> from crds.core.utils import instrument_to_observatory
    >>> instrument_to_observatory("iris")
    'tmt'
    """
    import_crds()


def import_crds() -> Any:
    """Import crds, make it know the observatories of all instruments, and return the package."""
    crds = _import()
    with LOCK:
        _add_observatories(crds, instruments.available())
    return crds


@functools.cache
def _import() -> Any:
    given = sorted(name for name in os.environ if name.startswith("CRDS_"))
    with LOCK, _traces_removed():
        try:
            crds = importlib.import_module("crds")
        except ImportError as error:
            raise ConfigError(
                f"the package crds cannot be imported: {error}",
                hint="Install it for the Python that runs tmt-dq: python -m pip install 'crds<15'",
            ) from error
        except Exception as error:
            # crds reads its variables while it is imported, and raises what comes. What has been
            # imported is forgotten, so that the import works once the variable is corrected.
            for name in [name for name in sys.modules if name.partition(".")[0] == "crds"]:
                del sys.modules[name]
            raise ConfigError(
                f"crds cannot be imported with these variables ({type(error).__name__}: {error})",
                where=", ".join(given) or "crds",
                hint="Correct the variable, or unset it.",
            ) from error
        return crds


@functools.cache
def _add_observatories(crds: Any, _described: tuple[str, ...]) -> None:
    """Add the observatories of the instruments that are described; crds keeps its own ones."""
    known = crds.constants.ALL_OBSERVATORIES
    for name in observatories.available():
        module = sys.modules.get(f"crds.{name}")
        if name not in known or isinstance(module, observatories.ObservatoryModule):
            _add(observatories.load(name), crds)
        if name not in known:
            known.append(name)
    for function in _CACHES:
        getattr(crds.utils, function).cache.clear()


@contextlib.contextmanager
def _traces_removed() -> Iterator[None]:
    """Put the environment and crds' logger back: crds sets 29 variables and adds a handler."""
    before = dict(os.environ)
    logger = logging.getLogger("CRDS")
    level, propagate, handlers = logger.level, logger.propagate, list(logger.handlers)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
        logger.setLevel(level)
        logger.propagate, logger.handlers[:] = propagate, handlers


def _add(observatory: observatories.Observatory, crds: ModuleType) -> None:
    """Put an observatory's modules where import statements find them."""
    package = observatories.ObservatoryModule(observatory, crds)
    locate = observatories.LocateModule(package, observatory, crds)
    # crds looks for hooks in an instrument's module, and it must exist; ours have none.
    hooks = [
        ModuleType(f"{package.__name__}.{instrument}", "An instrument without hooks.")
        for instrument in observatory.instruments
    ]
    for module in (package, locate, *hooks):
        sys.modules[module.__name__] = module
        parent, _, last = module.__name__.rpartition(".")
        setattr(sys.modules[parent], last, module)
