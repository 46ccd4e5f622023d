"""Modules and classes that are imported when they are used."""

import importlib
import sys
import threading
from collections.abc import Iterable
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["ClassLater", "LoaderLater", "ModuleLater", "parent_of"]


class ClassLater(type):
    """The class of stand-ins for classes: the real one is imported when it is used."""

    def __instancecheck__(cls, value: object) -> bool:
        # Nobody can have made an object of a class that is not loaded.
        return cls.__module__ in sys.modules and isinstance(value, cls.real())

    def __call__(cls, *values: object, **options: object) -> object:  # noqa: D102 - a class is called
        return cls.real()(*values, **options)

    def real(cls) -> Any:
        """Return the class that this one stands for."""
        return getattr(importlib.import_module(cls.__module__), cls.__name__)


class ModuleLater(ModuleType):
    """A stand-in for a module, which is imported when something of it is used."""

    def __getattr__(self, name: str) -> object:
        return getattr(importlib.import_module(self.__name__), name)


def parent_of(stand_in: ClassLater | ModuleLater) -> ModuleType:
    """Return what ``from parent import name`` is to be given to import a stand-in.

    Parameters
    ----------
    stand_in : ClassLater or ModuleLater
        The stand-in.

    Returns
    -------
    ModuleType
        A module that has the name of the stand-in's parent, and the stand-in.
    """
    if isinstance(stand_in, ModuleLater):
        parent, _, name = stand_in.__name__.rpartition(".")
    else:
        parent, name = stand_in.__module__, stand_in.__name__
    module = ModuleType(parent)
    setattr(module, name, stand_in)
    return module


class LoaderLater(Loader):
    """Loads a module when something of it is used.

    `importlib.util.LazyLoader` does so for any attribute. But programs look at all loaded modules
    for names like ``__file__`` (`inspect.getmodule` does, and astropy with it while it is being
    imported): here, names that Python itself gives to modules load nothing.

    Parameters
    ----------
    loader : Loader
        The module's own.
    """

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Make the module, empty."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module as it is."""
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        module.__class__ = _NotLoaded


_LOADING = threading.RLock()
_in_the_works: set[str] = set()


class _NotLoaded(ModuleType):
    """A module that becomes an ordinary one when something of it is used."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__dict__":  # all that it has: `vars`, ``from module import *``
            _load(self)
        return ModuleType.__getattribute__(self, name)

    def __getattr__(self, name: str) -> object:
        if _is_pythons(name) or not _load(self):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(self, name)

    def __setattr__(self, name: str, value: object) -> None:
        if not _is_pythons(name):
            _load(self)
        ModuleType.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if not _is_pythons(name):
            _load(self)
        ModuleType.__delattr__(self, name)

    def __dir__(self) -> Iterable[str]:
        _load(self)
        return ModuleType.__dir__(self)  # not super(): it is of another class now

    def __reduce__(self) -> tuple[Any, ...]:
        # cloudpickle, dask's for one, sends modules by name, but knows only ordinary ones.
        return importlib.import_module, (self.__name__,)


def _is_pythons(name: str) -> bool:
    return name.startswith("__") and name.endswith("__") and name != "__all__"


def _load(module: ModuleType) -> bool:
    """Load a module that is not, and wait for whoever does; False for what it imports itself."""
    with _LOADING:
        if module.__name__ in _in_the_works:
            return False
        if isinstance(module, _NotLoaded):
            assert module.__spec__ is not None
            assert module.__spec__.loader is not None
            _in_the_works.add(module.__name__)
            try:
                module.__spec__.loader.exec_module(module)
                ModuleType.__setattr__(module, "__class__", ModuleType)
            finally:
                _in_the_works.discard(module.__name__)
    return True
