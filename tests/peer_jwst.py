"""jwst as a peer: a process in an environment of its own that answers questions over its pipes.

Started as a script it is that process and needs jwst, NumPy and nothing of this project; imported,
it is the client. A message is a pickled dictionary and arrays by name.
"""

import contextlib
import functools
import logging
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn, Self

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]
Place = Sequence[int | None]
"""SUBSTRT1, SUBSTRT2, SUBSIZE1, SUBSIZE2; None for no such keyword."""

_ROOT = Path(__file__).resolve().parents[1]


def send(pipe: IO[bytes], message: Mapping[str, Any], arrays: Arrays) -> None:
    """Write a message."""
    pickle.dump((dict(message), dict(arrays)), pipe)
    pipe.flush()


# The client


def find_python(peer: str = "jwst", *, beside: bool = False) -> tuple[Path | None, str]:
    """Return the interpreter of an environment with a peer, or None and why there is none.

    With `beside` tmt-dq must be installed in it too.
    """
    variable = f"TMT_DQ_{peer.upper()}_PYTHON"
    named = os.environ.get(variable)
    peers = _ROOT / ".bench" / "peers"
    python = peers / peer / "bin" / "python" if named is None else Path(named)
    # The stamp is written when all packages are there.
    whole = named is not None or (peers / f"{peer}.installed").is_file()
    if not whole or not os.access(python, os.X_OK):
        return None, (
            f"{peer} is not installed at {python}; `make bench-peers` builds its environment, "
            f"{variable} names the Python of another"
        )
    if beside:
        found = subprocess.run(
            [python, "-c", "import tmt_dq.step"], capture_output=True, check=False
        )
        if found.returncode:
            return None, f"tmt-dq is not installed beside {peer}: {python} -m pip install -e ."
    return python, ""


@dataclass(frozen=True)
class Answer:
    """What the peer did: arrays and other results, an exception, what it logged or warned of."""

    arrays: Arrays
    says: Mapping[str, Any]
    error: str | None
    log: str

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        assert self.error is None, self.error
        return self.arrays[name]


class JwstPeer:
    """The process that runs jwst; ends with its standard input, so that it outlives no test run."""

    def __init__(self, python: Path, folder: Path, *, timeout_s: float = 180) -> None:
        self._timeout_s = timeout_s
        self._errors = (folder / "stderr.txt").open("w+b")
        self._process = subprocess.Popen(
            [python, "-I", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=folder,
            env=_environment(folder),
        )

    def ask(
        self, question: str, message: Mapping[str, Any], arrays: Arrays | None = None
    ) -> Answer:
        """Have the peer do something and wait for its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            with self._killed_after(self._timeout_s):
                send(self._process.stdin, {**message, "question": question}, arrays or {})
                says, found = pickle.load(self._process.stdout)
        except (OSError, EOFError) as error:
            self._errors.seek(0)
            tail = self._errors.read()[-3000:].decode(errors="replace")
            raise AssertionError(f"the process that runs jwst failed: {error}\n{tail}") from error
        assert says["connections"] == [], "the peer tried to reach the network"
        return Answer(found, says, says["error"], "\n".join(says["log"]))

    @contextlib.contextmanager
    def _killed_after(self, seconds: float) -> Iterator[None]:
        """Kill the peer if what is done takes longer."""
        timer = threading.Timer(seconds, self._process.kill)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._killed_after(10), contextlib.suppress(BrokenPipeError), self._process:
            pass
        self._errors.close()


def _environment(folder: Path) -> dict[str, str]:
    """Return variables of the peer: nothing of the user's, one thread, CRDS without a server."""
    # Only the client knows the project: this file is also a script of the peer's environment.
    from benchmarks.peers import JWST

    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "TMPDIR": tempfile.gettempdir(),
        **JWST.environment(folder),
        **dict.fromkeys(threads, "1"),
    }


# The process


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def initialize(message: Mapping[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Run do_dqinit; with `again`, on a second exposure with the same mask too."""
    from jwst.dq_init.dq_initialization import do_dqinit
    from stdatamodels.jwst import datamodels

    # Making and checking a model takes ten times as long as the step: of random cases, where the
    # metadata are not the question, there are many.
    quick = bool(message.get("quick"))
    os.environ["VALIDATE_ON_ASSIGNMENT"] = "false" if quick else "true"

    def exposure() -> Any:
        model = _kept_model() if quick else datamodels.RampModel()
        model.data = np.zeros(message["shape"], np.float32)
        for name in ("pixeldq", "groupdq"):
            given = _copied(arrays, name)
            setattr(model, name, model.get_default(name) if given is None else given)
        model.meta.exposure.type = "NRC_IMAGE"
        return _placed(model, message["place"])

    mask = _mask(message, arrays)
    result = do_dqinit(exposure(), mask, user_dq=_copied(arrays, "user"))
    found = {"pixeldq": result.pixeldq, "groupdq": result.groupdq, "mask": mask.dq}
    if message.get("again"):
        found["pixeldq_again"] = do_dqinit(exposure(), mask).pixeldq
    return {"status": result.meta.cal_step.dq_init}, found


@functools.cache
def _kept_model() -> Any:
    from stdatamodels.jwst import datamodels

    return datamodels.RampModel()


def save_mask(message: Mapping[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Make a mask and save it."""
    model = _mask(message, arrays)
    model.save(message["path"])
    return {}, {}


def run_step(message: Mapping[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Run the step from file to file."""
    from jwst.dq_init import DQInitStep
    from stdatamodels.jwst import datamodels

    os.environ["VALIDATE_ON_ASSIGNMENT"] = "true"
    # jwst takes no file without an ASDF extension of its own.
    with datamodels.RampModel(message["ramp"]) as model:
        model.save(message["ramp"])
    options = {} if message["user"] is None else {"user_supplied_dq": message["user"]}
    DQInitStep.call(
        message["ramp"],
        override_mask=message["mask"],
        save_results=True,
        output_dir=message["folder"],
        **options,
    )
    return {}, {}


def full_frame(message: Mapping[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Ask whether data are a subarray, and whether a reference without keywords can be placed."""
    from jwst.lib.reffile_utils import is_subarray, ref_matches_sci
    from stdatamodels.jwst import datamodels

    size = message["size"]
    data = np.zeros((size, size), np.float32)
    exposure = datamodels.RampModel(data=data[None, None])
    reference = datamodels.ReadnoiseModel(data=data)
    reference.meta.instrument.name = "NIRCAM"
    _placed(exposure, (1, 1, size, size))
    says: dict[str, Any] = {"is_subarray": bool(is_subarray(exposure)), "refused": None}
    try:
        ref_matches_sci(exposure, reference)
    except ValueError as error:
        says["refused"] = str(error)
    return says, {}


QUESTIONS: dict[str, Callable[[Mapping[str, Any], Arrays], tuple[Mapping[str, Any], Arrays]]] = {
    "initialize": initialize,
    "save_mask": save_mask,
    "run_step": run_step,
    "full_frame": full_frame,
}


def _mask(message: Mapping[str, Any], arrays: Arrays) -> Any:
    from stdatamodels.jwst import datamodels

    table = None
    if message.get("rows") is not None:
        types = [("BIT", "i4"), ("VALUE", "u4"), ("NAME", "S40"), ("DESCRIPTION", "S80")]
        table = np.array([(*row, "") for row in message["rows"]], types)
    model = datamodels.MaskModel(dq=_copied(arrays, "mask"), dq_def=table)
    return _placed(model, message["mask_place"])


def _placed(model: Any, place: Place) -> Any:
    model.meta.instrument.name = "NIRCAM"
    for name, value in zip(("xstart", "ystart", "xsize", "ysize"), place, strict=True):
        if value is not None:
            setattr(model.meta.subarray, name, value)
    return model


def _copied(arrays: Arrays, name: str) -> npt.NDArray[Any] | None:
    return arrays[name].copy() if name in arrays else None


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer until there are no more questions."""
    connections: list[str] = []

    def refuse(_: object, address: object, *__: object) -> NoReturn:
        connections.append(str(address))
        raise OSError("this process has no network")

    socket.getaddrinfo = refuse  # type: ignore[assignment]
    socket.socket.connect = socket.socket.connect_ex = refuse  # type: ignore[method-assign]
    while True:
        try:
            message, arrays = pickle.load(requests)
        except EOFError:
            return
        lines = Lines()
        logging.getLogger().addHandler(lines)
        says: Mapping[str, Any] = {}
        found: Arrays = {}
        error = None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                says, found = QUESTIONS[message["question"]](message, arrays)
            except Exception as problem:  # noqa: BLE001 - what it is, is the answer
                error = f"{type(problem).__name__}: {problem}"
        logging.getLogger().removeHandler(lines)
        log = lines.lines + [str(warning.message) for warning in caught]
        send(answers, {**says, "error": error, "log": log, "connections": connections}, found)


if __name__ == "__main__":
    # What libraries print must not get among the answers.
    answers_to = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, answers_to)
