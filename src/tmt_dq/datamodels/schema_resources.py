"""The schemas of the data models, as asdf finds them.

asdf imports this module whenever it is used by anything at all, so it imports nothing itself.
"""

from importlib import resources
from typing import Any

PREFIX = "asdf://tmt-dq/schemas/"
"""What the identifiers of our schemas begin with."""


def get_resource_mappings() -> list[Any]:
    """Return the mapping from identifiers to the files of ``schemas/``, for asdf's entry point."""
    from asdf.resource import DirectoryResourceMapping

    folder = resources.files(__package__).joinpath("schemas")
    return [DirectoryResourceMapping(folder, PREFIX)]
