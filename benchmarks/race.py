"""The race: every contender on the same pixels, one after the other, round after round."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.contenders import COMPRESSED, Contender, tmt_dq
from benchmarks.measure import Usage, busy_seconds, memory_total, run, warm
from benchmarks.peers import PEERS, Peer

__all__ = ["Lane", "Race", "disk_needed", "prepare_cache", "too_large"]

_STORED = 2  # uint16
_STORED_BY_JWST = 5  # float32 and a dense GROUPDQ
_SPARE = 2 * 1024**3
_QUIET = 0.15  # of a core


@dataclass
class Lane:
    """A contender's results for one length of ramp.

    Parameters
    ----------
    name : str
        The contender.
    groups : int
        Reads of the ramp.
    runs : list of Usage
        The measurements.
    stored_bytes, size_bytes : int
        Disk blocks and length of its output.
    checks : dict
        What `benchmarks.check` or the peer's check says of the output.
    note : str
        Why it was not run, or nothing.
    """

    name: str
    groups: int
    runs: list[Usage] = field(default_factory=list)
    stored_bytes: int = 0
    size_bytes: int = 0
    checks: dict[str, Any] = field(default_factory=dict)
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "groups": self.groups,
            "runs": [usage.as_dict() for usage in self.runs],
            "stored_bytes": self.stored_bytes,
            "size_bytes": self.size_bytes,
            "checks": self.checks,
            "note": self.note,
        }


def disk_needed(
    groups: Sequence[int], size: tuple[int, int], contenders: Sequence[Contender]
) -> int:
    """Return the bytes of disk that are taken at once, at most."""
    needs = []
    for number in groups:
        running = [c for c in contenders if too_large(c, number) is None]
        inputs = len({c.suffix for c in running})
        output = _STORED_BY_JWST if any(c.memory_per_read for c in running) else _STORED
        needs.append(number * size[0] * size[1] * (_STORED * inputs + output))
    return max(needs) + _SPARE


def too_large(contender: Contender, groups: int) -> str | None:
    """Say why a ramp is too long for a contender; None if it is not."""
    need = contender.memory_per_read * groups
    if need <= 0.85 * memory_total():
        return None
    return f"not run: it needs about {need / 1e9:.0f} GB of memory"


def prepare_cache(cache: Path, ramp: Path) -> Path:
    """Expand the package's CRDS cache, as a first use does; return the mask of a ramp."""
    answer = subprocess.run(
        [*tmt_dq(), "select", ramp],
        env={**os.environ, "TMT_DQ_CACHE_DIR": str(cache.resolve())},
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(answer.stdout.strip())


class Race:
    """Runs the contenders on ramps of one length.

    Parameters
    ----------
    folder : Path
        Where everything is written.
    groups : int
        Reads of the ramp.
    contenders : sequence of Contender
        Who runs.
    cache : Path
        Folder of tmt-dq's expanded CRDS cache.
    size : tuple of int
        (ny, nx) of a read.
    patience_s : float
        How long to wait, for all runs together, until nobody else uses the machine, and to repeat
        runs during which somebody did. Whether a run counts does not depend on its result.
    """

    def __init__(
        self,
        folder: Path,
        groups: int,
        contenders: Sequence[Contender],
        cache: Path,
        *,
        size: tuple[int, int],
        patience_s: float = 0.0,
    ) -> None:
        self.folder = (folder / f"n{groups}").resolve()
        self.outputs = self.folder / "outputs"
        self.groups = groups
        self.contenders = contenders
        self.cache = cache
        self.size = size
        self.patience_s = patience_s
        self.lanes = {c.name: Lane(c.name, groups) for c in contenders}
        self.ramp = self.folder / "ramp.fits"
        self.masks: dict[str, Path] = {}
        self._root = folder

    def prepare(self) -> None:
        """Simulate the ramp and make the peers' inputs of it."""
        self.outputs.mkdir(parents=True, exist_ok=True)
        make = [sys.executable, "-m", "benchmarks.ramps", str(self.ramp)]
        shape = ["--groups", f"{self.groups}", "--size", *map(str, self.size)]
        for contender in self.contenders:
            self.lanes[contender.name].note = too_large(contender, self.groups) or ""
        running = {c.suffix for c in self.contenders if not self.lanes[c.name].note}
        packed = [suffix for suffix in COMPRESSED if suffix in running]
        subprocess.run([*make, *shape, "--compressed", *packed], check=True)
        mask = prepare_cache(self.cache, self.ramp)
        self.masks |= dict.fromkeys([self.ramp.suffix, *packed], mask)
        for peer in PEERS:
            if peer.suffix in running:
                self._prepare_peer(peer)

    def _prepare_peer(self, peer: Peer) -> None:
        """Make a peer's ramp and mask of ours."""
        made = self.folder / f"mask_{peer.name}{Path(peer.suffix).suffix}"
        subprocess.run(
            [
                *(peer.python(self._root), peer.script("make")),
                *(self.ramp, self.masks[self.ramp.suffix], self._input(peer.suffix), made),
            ],
            env={**os.environ, **peer.environment(self._root)},
            check=True,
            capture_output=True,
        )
        self.masks[peer.suffix] = made

    def go(self, runs: int) -> list[Lane]:
        """Run everyone `runs` times, taking turns; return their results."""
        for number in range(runs):
            for contender in self.contenders:
                lane = self.lanes[contender.name]
                if not lane.note:
                    self._run(contender, lane, check=number == 0)
        return list(self.lanes.values())

    def clean(self) -> None:
        """Remove all that was written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, contender: Contender, lane: Lane, *, check: bool) -> None:
        """Run a contender once, and once more if it was disturbed and there is patience left."""
        while True:
            self._wait_until_quiet()
            start = time.monotonic()
            disturbed = self._try(contender, lane, check=check)
            if not disturbed or self.patience_s <= 0 or lane.note:
                return
            self.patience_s -= time.monotonic() - start
            lane.runs.pop()

    def _wait_until_quiet(self) -> None:
        while self.patience_s > 0:
            before = busy_seconds()
            time.sleep(1)
            if busy_seconds() - before < _QUIET:
                return
            self.patience_s -= 1

    def _try(self, contender: Contender, lane: Lane, *, check: bool) -> bool:
        """Run a contender; return whether others used the machine meanwhile."""
        source = self._input(contender.suffix)
        output = self.outputs / contender.output
        # Nobody pays for what an earlier one left to write, and the input is in memory.
        os.sync()
        warm(source)
        disturbed = False
        places = {
            "input": source,
            "output": output,
            "folder": self.outputs,
            "mask": self.masks[contender.suffix],
        }
        try:
            usage = run(
                [word.format(**places) for word in contender.command],
                env=contender.env,
                cwd=self.folder,
                log=self.folder / "log.txt",
            )
            lane.runs.append(usage)
            status = output.stat()
            lane.stored_bytes = status.st_blocks * 512
            lane.size_bytes = status.st_size
            disturbed = usage.others_s > _QUIET * (usage.wall_s + 1)
            print(
                f"  {self.groups:4} reads  {contender.name:36} {usage.wall_s:8.2f} s"
                f"  {usage.peak_rss_bytes / 1e6:8.0f} MB"
                + (f"  others took {usage.others_s:.1f} s" if disturbed else ""),
                flush=True,
            )
            if check and contender.check and not lane.checks:
                places |= {"input": self.ramp, "mask": self.masks[self.ramp.suffix]}
                lane.checks = _check([word.format(**places) for word in contender.check], contender)
        except RuntimeError as error:
            lane.note = f"failed: {str(error).strip().splitlines()[-1]}"
            print(f"  {contender.name}: {error}", file=sys.stderr)
        finally:
            for made in self.outputs.iterdir():
                made.unlink()
        return disturbed

    def _input(self, suffix: str) -> Path:
        return self.folder / f"ramp{suffix}"


def _check(command: Sequence[str], contender: Contender) -> dict[str, Any]:
    answer = subprocess.run(
        command, env={**os.environ, **contender.env}, capture_output=True, text=True, check=False
    )
    if answer.returncode:
        raise RuntimeError(f"its output cannot be checked: {answer.stderr[-1000:]}")
    found: dict[str, Any] = json.loads(answer.stdout.strip().splitlines()[-1])
    wrong = [name for name, value in found.items() if value is False]
    if wrong:
        raise RuntimeError(f"its output is wrong: {', '.join(wrong)} does not hold")
    return found
