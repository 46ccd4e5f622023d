"""Makes stock crds know our observatories, with no fork.

crds has no plugin mechanism: its observatories are sub-packages of its own and a list of names. The
adapter puts modules built from data (see `tmt_dq.references.locate`) where crds looks for them and
appends to the list in place, since every module of crds shares it.
"""

import importlib
import sys
from collections.abc import Callable, MutableSequence
from types import ModuleType
from typing import Any

from tmt_dq.references import observatories, private_crds
from tmt_dq.references.locate import Loader, LocateModule, ObservatoryModule

__all__ = ["register", "registered_engine"]

_CACHES = (
    "observatory_instrument_tuples",
    "get_all_instrument_fixers",
    "instrument_to_observatory",
)
"""Functions of crds.core.utils that remember what the observatories are."""


def register() -> None:
    """Make the installed package ``crds`` know our observatories.

    Idempotent; needed once in every process, spawned workers included, before crds is used with one
    of our observatories. Imports crds in full. An observatory that crds has itself is left alone.

    Examples
    --------
    >>> from tmt_dq.references import register
    >>> register()
    >>> from crds.core.utils import instrument_to_observatory
    >>> instrument_to_observatory("iris")
    'tmt'
    """
    with private_crds.LOCK:
        importlib.import_module("crds")
        _extend(importlib.import_module, _add_to_process)


def registered_engine() -> private_crds.Engine:
    """Return the private engine, made to know our observatories."""
    with private_crds.LOCK:
        engine = private_crds.engine()
        _extend(engine.load, engine.add)
    return engine


def _extend(crds: Loader, add: Callable[[dict[str, ModuleType]], None]) -> None:
    """Add the observatories that a crds, full or private, does not have."""
    known: MutableSequence[str] = crds("crds.core.constants").ALL_OBSERVATORIES
    missing = [name for name in observatories.available() if name not in known]
    for name in missing:
        add(_build(observatories.load(name), crds))
        known.append(name)
    if missing:
        utils: Any = crds("crds.core.utils")
        for function in _CACHES:
            getattr(utils, function).cache.clear()


def _build(observatory: observatories.Observatory, crds: Loader) -> dict[str, ModuleType]:
    """Return an observatory's modules by full name."""
    package = ObservatoryModule(observatory, crds)
    modules: dict[str, ModuleType] = {
        package.__name__: package,
        f"{package.__name__}.locate": LocateModule(package, observatory, crds),
    }
    for instrument in observatory.instruments:
        # crds looks for hooks in it, and it must exist; ours have none.
        name = f"{package.__name__}.{instrument}"
        modules[name] = ModuleType(name, "An instrument without hooks.")
    return modules


def _add_to_process(modules: dict[str, ModuleType]) -> None:
    """Put modules where import statements find them."""
    for name, module in modules.items():
        sys.modules[name] = module
        parent, _, last = name.rpartition(".")
        setattr(sys.modules[parent], last, module)
