"""A watch in a thread of the test, with a worker that needs no process."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batch_helpers import until
from tmt_dq.watch import Control, WatchResult, watch_folder
from tmt_dq.watch import service as service_module

if TYPE_CHECKING:
    from tmt_dq.batch import FileResult


class InlinePool:
    """Does work where it is handed over: for what is not about processes."""

    def __init__(self, count: int, work: Callable[[Any], Any], **_: Any) -> None:
        self._work = work
        self._ended: list[tuple[Any, Any]] = []
        self.deaths = 0

    @property
    def room(self) -> int:
        return 0 if self._ended else 1

    @property
    def busy(self) -> list[Any]:
        return [task for task, _ in self._ended]

    def give(self, task: Any) -> None:
        try:
            answer = self._work(task)
        except Exception as error:  # noqa: BLE001 - as the pool does
            answer = error
        self._ended.append((task, answer))

    def wait(self, timeout: float) -> list[tuple[Any, Any]]:
        time.sleep(0 if self._ended else timeout)
        ended, self._ended = self._ended, []
        return ended

    def stop(self) -> None:
        self._ended = []


def use_inline_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "Pool", InlinePool)


class Watching:
    """A running watch."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.results: list[FileResult] = []
        self.result: WatchResult | None = None
        self.error: BaseException | None = None

    def done(self) -> list[str]:
        return [Path(one.input).name for one in self.results if one.error is None]

    def failed(self) -> list[str]:
        return [Path(one.input).name for one in self.results if one.error is not None]

    def wait_done(self, *names: str) -> None:
        self.wait(lambda: sorted(self.done()) == sorted(names), self.done)

    def wait(self, condition: Callable[[], Any], show: Callable[[], Any] = lambda: "") -> Any:
        """Wait for something, as long as the watch runs."""

        def check() -> Any:
            assert self.error is None, self.error
            return condition()

        try:
            return until(check, 15)
        except AssertionError as error:
            raise AssertionError(f"{error}: {show()}") from error


@contextlib.contextmanager
def watching(folder: Path, output_dir: Path, **options: Any) -> Iterator[Watching]:
    """Watch a folder in a thread; at the end it is stopped, and its error raised."""
    control = Control()
    running = Watching(control)
    options.setdefault("settle_s", 0.3)
    options.setdefault("stalled_s", 0.6)
    options.setdefault("jobs", 1)

    def run() -> None:
        try:
            running.result = watch_folder(
                folder,
                output_dir=output_dir,
                control=control,
                on_result=running.results.append,
                **options,
            )
        except BaseException as error:  # noqa: BLE001 - it is raised in the test
            running.error = error

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield running
    finally:
        control.stop()
        thread.join(30)
        assert not thread.is_alive()
    if running.error is not None:
        raise running.error
