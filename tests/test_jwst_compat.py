"""Scripts of the old fork: their import line works where jwst is installed, or says what to do.

jwst itself is not installed for the tests: a stand-in with the same kind of ``datamodels`` package
takes its place, in a process of its own.
"""

import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.contract

SCRIPT = """
import tmt_dq.jwst_compat
from jwst.datamodels import TMTMaskModel, TMTRampModel, ImageModel
import jwst.datamodels, tmt_dq.datamodels
assert TMTMaskModel is tmt_dq.datamodels.TMTMaskModel
assert TMTRampModel is tmt_dq.datamodels.TMTRampModel
assert ImageModel == "their own"
print(sorted(jwst.datamodels.__all__))
"""


def run(code: str, *folders: Any) -> Any:
    prefix = f"import sys; sys.path[:0] = {[str(folder) for folder in folders]!r}\n"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", prefix + code],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def jwst(tmp_path: Any) -> Any:
    """Lay out a package whose data models are imported when they are first used, as jwst's are."""
    package = tmp_path / "jwst" / "datamodels"
    package.mkdir(parents=True)
    (tmp_path / "jwst" / "__init__.py").write_text("")
    (package / "__init__.py").write_text(
        "__all__ = ['ImageModel']\n"
        "def __getattr__(name):\n"
        "    if name == 'ImageModel':\n"
        "        return 'their own'\n"
        "    raise AttributeError(name)\n"
    )
    return tmp_path


def test_the_old_import_line_works_where_jwst_is(jwst: Any) -> None:
    done = run(SCRIPT, jwst)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['ImageModel', 'TMTMaskModel', 'TMTRampModel']"


def test_where_jwst_is_not_the_error_says_what_to_write(tmp_path: Any) -> None:
    done = run("sys.modules['jwst'] = None\nimport tmt_dq.jwst_compat", tmp_path)
    assert done.returncode == 1
    assert "from tmt_dq.datamodels import TMTMaskModel" in done.stderr
    assert "install jwst" in done.stderr


def test_what_jwst_itself_cannot_import_is_told_as_such(jwst: Any) -> None:
    (jwst / "jwst" / "datamodels" / "__init__.py").write_text("import no_such_dependency\n")
    done = run("import tmt_dq.jwst_compat", jwst)
    assert done.returncode == 1
    assert "No module named 'no_such_dependency'" in done.stderr
    assert "jwst_compat adds" not in done.stderr
