"""A private copy of crds' rule engine: what selection needs of it, and nothing else.

``import crds`` takes a second, because ``crds/__init__.py`` imports every tool and the network
client, and it writes 28 variables into ``os.environ``. Selecting a reference needs
``crds.core.rmap`` and what that imports. So those modules are loaded here from the installed,
unmodified files, into a table of our own instead of ``sys.modules``:

* Their ``import crds...`` statements, at load time and later inside functions, are answered from
  the table, because each module gets a ``__builtins__`` whose ``__import__`` does so (Python looks
  up ``__import__`` there for every import statement). The parent ``crds`` is bare: its ``__init__``
  is not run. All other imports go the normal way.
* What they import from astropy and packaging is imported when it is used: selection uses nothing
  of it, and it takes 0.3 s.
* Their ``os`` has an ``environ`` of its own, empty at the start. Hence no variable is written into
  the process' environment, and none changes what the engine does; the facade reads the few that
  count.

Nothing global is touched: no entry in ``sys.modules``, no handler on crds' logger. A later or
concurrent ``import crds`` (stpipe does it) gets the full package, and both work side by side. A
test compares the answers of the two.
"""

import builtins
import functools
import importlib
import importlib.machinery
import importlib.util
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from types import ModuleType

from tmt_dq.errors import ConfigError
from tmt_dq.references.later import ClassLater, ModuleLater, parent_of

__all__ = ["LOCK", "Engine", "engine"]

LOCK = threading.RLock()
"""Held while modules are loaded and while the engine works: crds does not claim thread safety."""


_STAND_INS: list[ClassLater | ModuleLater] = [
    ModuleLater("astropy.io.fits"),
    ClassLater("Time", (), {"__module__": "astropy.time"}),
    ClassLater("Requirement", (), {"__module__": "packaging.requirements"}),
]
_LATER = {parent.__name__: parent for parent in map(parent_of, _STAND_INS)}
"""What private modules get when they import from these: selection uses nothing of them."""


class Engine:
    """The private modules, by name.

    Parameters
    ----------
    folder : str
        The installed package's folder.
    """

    def __init__(self, folder: str) -> None:
        self._modules: dict[str, ModuleType] = {}
        self._os = ModuleType("os")
        self._os.__dict__.update(vars(os), environ={})
        self._builtins = {**vars(builtins), "__import__": self._import}
        root = ModuleType("crds")
        root.__path__ = [folder]
        self._modules["crds"] = root
        self.version: str = self.load("crds._version").version

    def load(self, name: str) -> ModuleType:
        """Return the private module `name` (``"crds.core.rmap"``), loading it when it is new."""
        with LOCK:
            module = self._modules.get(name)
            return module if module is not None else self._execute(name)

    def add(self, modules: Mapping[str, ModuleType]) -> None:
        """Put ready-made modules, an observatory's, into the table."""
        with LOCK:
            for name, module in modules.items():
                self._modules[name] = module
                self._attach(name, module)

    def __contains__(self, name: str) -> bool:
        return name in self._modules

    def _attach(self, name: str, module: ModuleType) -> ModuleType | None:
        """Make a module an attribute of its parent, which is loaded first."""
        parent, _, last = name.rpartition(".")
        if not parent:
            return None
        package = self.load(parent)
        setattr(package, last, module)
        return package

    def _execute(self, name: str) -> ModuleType:
        """Load a module from its file (or its .pyc) into the table."""
        package = self.load(name.rpartition(".")[0])
        spec = importlib.machinery.PathFinder.find_spec(name, getattr(package, "__path__", None))
        if spec is None or spec.loader is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        module = importlib.util.module_from_spec(spec)
        module.__dict__["__builtins__"] = self._builtins
        self._modules[name] = module
        self._attach(name, module)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del self._modules[name]
            raise
        return module

    def _import(
        self,
        name: str,
        namespace: Mapping[str, object] | None = None,
        local: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Answer the import statements of private modules."""
        if level:
            assert namespace is not None
            name = importlib.util.resolve_name("." * level + name, str(namespace["__package__"]))
        if name.partition(".")[0] != "crds":
            if fromlist and name in _LATER:
                return _LATER[name]
            module = __import__(name, namespace, local, fromlist or (), 0)
            # `from os import environ` is covered as well: it takes the attribute from our module.
            return self._os if module is os else module
        module = self.load(name)
        if not fromlist:
            return self._modules["crds"]
        for part in fromlist:
            if part != "*" and not hasattr(module, part) and hasattr(module, "__path__"):
                try:
                    self.load(f"{name}.{part}")
                except ModuleNotFoundError as error:
                    if error.name != f"{name}.{part}":
                        raise
        return module


@functools.cache
def _load_engine() -> Engine:
    """Load the engine, leaving the configuration of crds' logger as it was."""
    spec = importlib.util.find_spec("crds")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            "the package crds is not installed",
            hint="Install tmt-dq with its dependencies: python -m pip install tmt-dq",
        )
    logger = logging.getLogger("CRDS")
    level, propagate, handlers = logger.level, logger.propagate, list(logger.handlers)
    try:
        loaded = Engine(spec.submodule_search_locations[0])
        loaded.load("crds.core.rmap")
    finally:
        logger.setLevel(level)
        logger.propagate, logger.handlers[:] = propagate, handlers
    return loaded


def engine() -> Engine:
    """Return this process' private engine, loading it on the first call."""
    with LOCK:
        return _load_engine()
