"""Builds sdist and wheel, looks into them, and follows README with the wheel alone.

The commands and the Python of README run as on a new computer: an environment that holds the wheel
and what it needs, an empty HOME and cache, none of the caller's variables, and of the repository
only what the sdist has. They must print what README says. Nothing is left behind.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).with_name("uv")
WHEEL_ONLY = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
SDIST_ONLY = ("PKG-INFO", "LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "Makefile")
FOLLOW = """
from pathlib import Path
from page_blocks import run_blocks
run_blocks(Path("README.md"))
"""


def run(*command: str | Path, **options: object) -> None:
    """Run a command; end with what it printed if it fails."""
    answer = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,
    )
    if answer.returncode:
        sys.exit(f"{answer.stdout}\n{' '.join(map(str, command))}: exit {answer.returncode}")


def tracked(*folders: str) -> list[str]:
    """Return the names of the files that git knows below folders."""
    answer = subprocess.run(
        ["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in answer.stdout.split("\0") if name and (ROOT / name).is_file()]


def require(archive: Path, present: Iterable[str], wanted: Iterable[str]) -> None:
    """End with what an archive lacks."""
    missing = sorted(set(wanted) - set(present))
    if missing:
        sys.exit(f"{archive.name} lacks {len(missing)} files:\n  " + "\n  ".join(missing[:20]))


def build(folder: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from it; make sure that nothing is missing."""
    run(UV, "build", "--quiet", "--out-dir", folder, ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    name, version = wheel.name.split("-")[:2]
    package = tracked("src/tmt_dq")
    with zipfile.ZipFile(wheel) as archive:
        present = archive.namelist()
    own = [f"{name}-{version}.dist-info/{file}" for file in WHEEL_ONLY]
    require(wheel, present, [*own, *(file.removeprefix("src/") for file in package)])
    strangers = [file for file in present if not file.startswith((f"{name}/", f"{name}-"))]
    if strangers:
        sys.exit(f"{wheel.name} would install files beside the package: {strangers[:5]}")
    with tarfile.open(sdist) as archive:
        present = [file.partition("/")[2] for file in archive.getnames()]
    require(sdist, present, [*SDIST_ONLY, *package, *tracked("tests", "docs")])
    return sdist, wheel


def follow_readme(folder: Path, sdist: Path, wheel: Path) -> None:
    """Do what README says, in its order, with the wheel."""
    venv, home = folder / "venv", folder / "home"
    home.mkdir()
    run(UV, "venv", "--quiet", "--python", sys.executable, venv)
    pins = ("--constraints", ROOT / "constraints.txt")
    run(UV, "pip", "install", "--quiet", "--python", venv, *pins, f"{wheel}[plot]")
    # `make` finds its environment made, and does the rest of what it does.
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    project = folder / sdist.name.removesuffix(".tar.gz")
    (venv / ".installed").touch()
    alone = {
        "PATH": f"{venv / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
    }
    run("make", "demo", f"VENV={venv}", cwd=project, env=alone)
    run("python", "-c", FOLLOW, cwd=project, env={**alone, "PYTHONPATH": "docs"})


def main() -> None:
    """Do all of it, and say how long it took."""
    begin = time.monotonic()
    os.environ.pop("VIRTUAL_ENV", None)
    with tempfile.TemporaryDirectory(prefix="tmt-dq-package-") as folder:
        sdist, wheel = build(Path(folder))
        built = time.monotonic()
        print(f"{sdist.name} and {wheel.name} are complete ({built - begin:.0f} s)", flush=True)
        follow_readme(Path(folder), sdist, wheel)
    print(f"README is true in a clean environment ({time.monotonic() - built:.0f} s)")


if __name__ == "__main__":
    main()
