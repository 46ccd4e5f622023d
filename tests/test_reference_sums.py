"""References are compared with the sums on record when they are selected."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builders import invoke, make_ramp
from delivery_helpers import NEW, OLD, exposure, mask, root
from tmt_dq import deliver_mask
from tmt_dq.errors import SelectionError
from tmt_dq.files.identity import sha256_of
from tmt_dq.references import embedded, select_reference

__all__ = ["mask", "root"]
pytestmark = pytest.mark.usefixtures("no_crds")


@pytest.fixture
def copy(root: Path, mask: Path) -> Path:
    path = deliver_mask(mask, cache=root, yes=True).mask_path
    assert isinstance(path, Path)
    return path


def select(root: Path, **options: Any) -> Any:
    return select_reference(exposure("2026-05-01T00:00:00"), crds_path=root, **options)


def truncate(copy: Path) -> None:
    copy.write_bytes(copy.read_bytes()[:-2880])


def swap(copy: Path) -> None:
    os.replace(shutil.copyfile(copy.with_name(OLD), copy.with_suffix(".tmp")), copy)


def change_a_bit_and_hide_it(copy: Path) -> None:
    """Size and time of change stay the same."""
    status = copy.stat()
    raw = bytearray(copy.read_bytes())
    raw[-3000] ^= 1
    copy.write_bytes(raw)
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("damage", [truncate, swap, change_a_bit_and_hide_it])
def test_another_file(root: Path, copy: Path, damage: Callable[[Path], None]) -> None:
    assert select(root).path == copy
    damage(copy)
    with pytest.raises(SelectionError, match="not the file that was delivered") as caught:
        select(root)
    assert caught.value.where == str(copy)


def test_on_request_it_is_used_all_the_same(
    root: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy.write_bytes(copy.read_bytes() + bytes(2880))
    assert select(root, verify=False).path == copy
    monkeypatch.setenv("TMT_DQ_VERIFY", "0")
    assert select(root).path == copy
    with pytest.raises(SelectionError, match="sha256"):
        select(root, verify=True)


def test_command_line(root: Path, copy: Path, folder: Path) -> None:
    ramp = make_ramp(folder / "ramp.fits", start=(101, 201), header={"SUBARRAY": "CUSTOM"})
    arguments = ("select", ramp, "--crds-path", root)
    assert invoke(*arguments).out.strip() == str(copy)
    change_a_bit_and_hide_it(copy)
    outcome = invoke(*arguments)
    assert (outcome.code, "sha256" in outcome.err) == (6, True)
    assert invoke(*arguments, "--no-verify").out.strip() == str(copy)


def test_hashed_once(root: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return sha256_of(path)

    copy.touch()
    monkeypatch.setattr("tmt_dq.files.identity.sha256_of", counted)
    for _ in range(3):
        select(root)
    assert hashed == [copy]
    copy.touch()
    select(root)
    assert hashed == [copy, copy]


def test_damaged_record(root: Path, copy: Path) -> None:
    (root / "references/tmt/SHA256SUMS").write_text(f"12  iris/{NEW}\n")
    with pytest.raises(SelectionError, match="not a sha256"):
        select(root)
    (root / "references/tmt/SHA256SUMS").unlink()
    assert select(root).path == copy


def test_the_masks_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMT_DQ_CACHE_DIR", str(tmp_path / "own"))
    path = embedded.ensure("tmt_iris_mask_0101.fits")
    header = exposure("2026-05-01T00:00:00", SUBARRAY="FULL")
    assert select_reference(header).path == path
    with path.open("r+b") as file:
        file.seek(50_000_000)
        file.write(b"\x00")
    with pytest.raises(SelectionError, match="sha256"):
        select_reference(header)
