"""Links from names in docstrings to the pages of the reference.

Docstrings use short names, `FlaggedRamp` or `tmt_dq.apply_dq`, and their own
parameters in the same way. What the reference has is linked; a full name of something that the
package does not have is an error of the docstring, and ends the build; all else stays text.
"""

import importlib
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

__all__ = ["exists", "setup"]


def exists(name: str) -> bool:
    """Return whether a full name is that of a module of the package, or of something in one."""
    parts = name.split(".")
    for number in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:number]))
        except ModuleNotFoundError:
            continue
        for part in parts[number:]:
            if not hasattr(found, part) and part not in getattr(found, "__annotations__", {}):
                return False
            found = getattr(found, part, None)
        return True
    return False


def _link(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.TextElement
) -> nodes.Element | None:
    """Link a name that Sphinx did not find under its own full name."""
    if node.get("refdomain") != "py":
        return None
    target = str(node["reftarget"]).lstrip("~.")
    last = target.rpartition(".")[2]
    documented = env.domains.python_domain.objects
    homes = sorted(
        (name for name in documented if name.rpartition(".")[2] == last),
        key=lambda name: (name.count("."), name),
    )
    own = target.startswith("tmt_dq")
    if homes and (own or "." not in target):
        entry = documented[homes[0]]
        return make_refnode(
            app.builder, node["refdoc"], entry.docname, entry.node_id, content, homes[0]
        )
    if own and not exists(target):
        return None
    return content


def setup(app: Sphinx) -> dict[str, bool]:
    """Look up names after Sphinx, and after the inventories of other projects."""
    app.connect("missing-reference", _link, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
