"""The peers' environments, and the scripts that run inside them.

The scripts know nothing of this project; they run in environments that have jwst or romancal.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["JWST", "PEERS", "ROMANCAL", "Peer", "find_python"]

_HERE = Path(__file__).parent
_PYTHON = "3.12"


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer and how to run it.

    Parameters
    ----------
    name, version : str
        Its package, pinned together with all that it needs in ``<name>.txt``.
    suffix : str
        Ending of its files.
    output : str
        Name of the output of ``ramp<suffix>``.
    memory_per_read : int
        Bytes of memory it needs for a read of 4096 × 4096, as measured; runs that cannot fit are
        left out.
    observatory : str
        CRDS observatory.
    """

    name: str
    version: str
    suffix: str
    output: str
    memory_per_read: int
    observatory: str
    packages: tuple[str, ...] = field(default=())

    def python(self, folder: Path) -> Path:
        """Return the interpreter of the peer's environment."""
        return folder / "peers" / self.name / "bin" / "python"

    def script(self, kind: str) -> Path:
        """Return the script that makes the peer's input ("make") or runs it ("run")."""
        return _HERE / f"{kind}_{self.name}.py"

    def build(self, folder: Path) -> str | None:
        """Make the peer's environment if it is not there; return what is missing, if anything."""
        constraints = _HERE / f"{self.name}.txt"
        stamp = folder / "peers" / f"{self.name}.installed"
        if stamp.is_file() and stamp.read_bytes() == constraints.read_bytes():
            return None
        interpreter = find_python()
        if interpreter is None:
            return (
                f"{self.name} {self.version} is left out: its pinned packages need Python "
                f"{_PYTHON}, which is neither this Python nor on PATH as python{_PYTHON}"
            )
        print(f"building the environment of {self.name} {self.version} …", flush=True)
        target = folder / "peers" / self.name
        try:
            subprocess.run([interpreter, "-m", "venv", "--clear", target], check=True)
            subprocess.run(
                [
                    self.python(folder),
                    *("-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
                    *("-c", constraints, f"{self.name}=={self.version}"),
                ],
                check=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            return f"{self.name} {self.version} is left out: it cannot be installed ({error})"
        stamp.write_bytes(constraints.read_bytes())
        return None

    def environment(self, folder: Path) -> Mapping[str, str]:
        """Return variables that keep CRDS off the network: an empty cache and no server."""
        cache = folder / "peers" / "crds"
        config = cache / "config" / self.observatory / "server_config"
        config.parent.mkdir(parents=True, exist_ok=True)
        context = f"{self.observatory}_0001.pmap"
        content = {
            "observatory": self.observatory,
            "operational_context": context,
            "latest_context": context,
            "edit_context": context,
            "bad_files": "",
            "bad_files_list": [],
            "force_remote_mode": False,
            "server": "none",
            "last_synced": "never",
            "crds_version": {"str": "14.0.3"},
        }
        config.write_text(f"{content!r}\n")
        return {
            "CRDS_PATH": str(cache),
            "CRDS_SERVER_URL": "https://serverless",
            "CRDS_READONLY_CACHE": "1",
            "STPIPE_DISABLE_CRDS_STEPPARS": "true",
        }


JWST = Peer(
    "jwst",
    "3.0.0",
    suffix="_uncal.fits",
    output="ramp_dqinitstep.fits",
    memory_per_read=105_000_000,
    observatory="jwst",
    packages=("jwst", "stdatamodels", "stpipe", "astropy", "numpy"),
)
ROMANCAL = Peer(
    "romancal",
    "1.1.0",
    suffix="_uncal.asdf",
    output="ramp_dqinit.asdf",
    memory_per_read=190_000_000,
    observatory="roman",
    packages=("romancal", "roman_datamodels", "stpipe", "asdf", "numpy"),
)
PEERS = (JWST, ROMANCAL)


def find_python() -> str | None:
    """Return an interpreter of the version that the peers' packages are pinned for, if any."""
    if sys.version_info[:2] == (3, 12):
        return sys.executable
    found = shutil.which(f"python{_PYTHON}")
    candidates = [] if found is None else [found]
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates += sorted(map(str, root.glob(f"versions/{_PYTHON}.*/bin/python")), reverse=True)
    for candidate in candidates:
        # A pyenv shim may exist for a version that is not switched on.
        answer = subprocess.run(
            [candidate, "-c", "import venv, ensurepip"], capture_output=True, check=False
        )
        if answer.returncode == 0:
            return candidate
    return None
