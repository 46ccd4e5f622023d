"""stpipe imported without crds, which is loaded when stpipe uses it.

``import stpipe`` imports all of crds, its tools and its network client, which takes longer than
flagging a ramp does. A step that chooses its references itself needs nothing of it. So while
stpipe is imported, two of its modules are loaded differently, from their unmodified files:

* ``stpipe.crds_client``, which is all that stpipe has to say to crds, is executed when something
  of it is used.
* ``stpipe._log`` imports ``crds.core.log`` for steps that write CRDS' log, too; it gets a stand-in
  for that, which imports it when it is used.

Nothing is replaced: steps and pipelines that go to crds, jwst's in the same process for one, find
all of it, when they use it. Where stpipe or crds is imported already, nothing happens.
"""

import builtins
import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from tmt_dq.references.later import LoaderLater, ModuleLater, parent_of

__all__ = ["crds_later"]

_CRDS_CORE = parent_of(ModuleLater("crds.core.log"))


@contextlib.contextmanager
def crds_later() -> Iterator[None]:
    """Have stpipe import crds when it uses it, if stpipe is imported here for the first time."""
    if "stpipe" in sys.modules or "crds" in sys.modules:
        yield
        return
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder(MetaPathFinder):
    """Finds the modules of stpipe that import crds."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in {"stpipe.crds_client", "stpipe._log"}:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is None or spec.loader is None:
            return None
        lazy = fullname == "stpipe.crds_client"
        spec.loader = LoaderLater(spec.loader) if lazy else _WithoutLog(spec.loader)
        return spec


class _WithoutLog(Loader):
    """Loads a module for which ``from crds.core import log`` gives a stand-in."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Python looks up __import__ there, for every import statement of the module.
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import}
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)


def _import(
    name: str,
    namespace: Mapping[str, object] | None = None,
    local: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    if name == "crds.core" and list(fromlist or ()) == ["log"]:
        return _CRDS_CORE
    return __import__(name, namespace, local, fromlist or (), level)
