"""Drafts of outputs sent elsewhere: the whole appears under its name, or nothing does.

To S3 in parts of a multipart upload, which becomes an object when it is completed, and is aborted
whatever goes wrong. What the output has in common with an object of the same store is copied there,
by the store. To other stores through fsspec's own transactions.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tmt_dq.errors import OutputError, RemoteError, TmtDqError
from tmt_dq.files.copying import Progress
from tmt_dq.files.urls import Url
from tmt_dq.io.remote import AHEAD, PIECE, begin, file_info, filesystem, is_s3, pieces_of
from tmt_dq.io.remote_errors import describe, status_of
from tmt_dq.io.remote_inputs import RemoteInput

if TYPE_CHECKING:
    from tmt_dq.io.remote_outputs import Copied, Draft

__all__ = ["Part", "abort_uploads", "plan_parts", "upload"]

_MIB = 1024 * 1024
_SMALLEST = 5 * _MIB
"""S3 takes no smaller part, but for the last."""
_MOST_PARTS = 10_000
_COPIED_AT_ONCE = 128 * _MIB
"""Of 5 GiB at most: several are copied at once, and none takes longer than clients wait."""
_PATIENCE_S = 10


def upload(
    draft: "Draft",
    url: Url,
    *,
    overwrite: bool,
    verify: Callable[[], None],
    progress: Progress | None = None,
) -> None:
    """Put an output together elsewhere, and give it its name.

    Parameters
    ----------
    draft : Draft
        The output.
    url : Url
        Its name.
    overwrite : bool
        Whether an existing file is replaced.
    verify : callable
        Called when all bytes were read; raises if the input changed meanwhile.
    progress : callable, optional
        Called with the number of bytes of each part.

    Raises
    ------
    OutputError
        Raised if it cannot be written; nothing is left of it then.
    """
    fs, path = filesystem(url)
    if is_s3(fs):
        _ToS3(fs, path, url, draft, overwrite=overwrite).send(verify, progress)
    else:
        _send(fs, path, url, draft, verify, progress)
    info = file_info(url)
    if info is None or info.get("size") not in {None, draft.size}:
        raise OutputError(
            f"was written, but the store shows {'nothing' if info is None else info['size']}; "
            f"expected {draft.size} bytes",
            where=url,
            hint="Somebody else writes or removes it at the same time.",
        )


@contextlib.contextmanager
def _output_errors(url: Url) -> Iterator[None]:
    """Turn what a library raises while writing into `OutputError`."""
    try:
        yield
    except TmtDqError:
        raise
    except Exception as error:  # noqa: BLE001 - each file system of fsspec has its own
        what, hint = describe(error, url)
    else:
        return
    raise OutputError(f"cannot be written: {what}", where=url, hint=hint) from None


def _send(
    fs: Any,
    path: str,
    url: Url,
    draft: "Draft",
    verify: Callable[[], None],
    progress: Progress | None,
) -> None:
    """Write through fsspec, in order; the name is given when the file is closed and committed."""
    with _output_errors(url):
        file = _open_unfinished(fs, path, url)
        try:
            for data in pieces_of(draft.read, draft.size):
                file.write(data)
                if progress is not None:
                    progress(len(data))
            verify()
            file.close()
            file.commit()
        except BaseException:
            with contextlib.suppress(Exception):
                file.discard()
            raise


def _open_unfinished(fs: Any, path: str, url: Url) -> Any:
    """Open a file that has no name until it is committed."""
    from fsspec.spec import AbstractBufferedFile

    new = not fs.exists(path)
    file = None
    with contextlib.suppress(NotImplementedError, TypeError, ValueError):
        file = fs.open(path, "wb", autocommit=False)
    discard = getattr(file, "discard", None)
    # Many take the word and do not keep it.
    if discard and getattr(discard, "__func__", None) is not AbstractBufferedFile.discard:
        return file
    if isinstance(file, AbstractBufferedFile):
        file.closed = True  # what was begun is not sent when the object goes
    elif file is not None:
        file.close()
    if file is not None and new:
        with contextlib.suppress(FileNotFoundError):
            fs.rm_file(path)
    raise OutputError(
        f"cannot be written whole or not at all through {type(fs).__name__}",
        where=url,
        hint="Write it here, and copy it there.",
    )


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an upload.

    Parameters
    ----------
    place, size : int
        Where in the output, and how many bytes.
    copied : Copied or None
        What the store copies itself; None for what is sent.
    """

    place: int
    size: int
    copied: "Copied | None" = None


def plan_parts(size: int, copies: "list[Copied]") -> list[Part]:
    """Divide an output into parts that S3 takes.

    Parameters
    ----------
    size : int
        Bytes of the output.
    copies : list of Copied
        What the store can copy itself, in the order of their places.

    Returns
    -------
    list of Part
        The parts in order. None but the last is smaller than 5 MiB.
    """
    # As many as S3 takes, with room for those beside copies.
    piece = max(PIECE, -(-size // (_MOST_PARTS // 2)))
    parts: list[Part] = []
    done = 0

    def sent(end: int) -> None:
        nonlocal done
        while done < end:
            rest = end - done
            # The last piece of a stretch must not be too small for a part.
            count = rest if rest < piece + _SMALLEST else piece
            parts.append(Part(done, count))
            done += count

    for copied in copies:
        start = copied.place if copied.place in {done, 0} else max(copied.place, done + _SMALLEST)
        if copied.end - start < _SMALLEST:
            continue  # goes with what is sent
        sent(start)
        while done < copied.end:
            rest = copied.end - done
            count = rest if rest < _COPIED_AT_ONCE + _SMALLEST else _COPIED_AT_ONCE
            parts.append(Part(done, count, copied))
            done += count
    sent(size)
    return parts


class _ToS3:
    """One multipart upload."""

    def __init__(self, fs: Any, path: str, url: Url, draft: "Draft", *, overwrite: bool) -> None:
        self._fs, self._url, self._draft = fs, url, draft
        self._bucket, self._key, _ = fs.split_path(path)
        self._overwrite = overwrite
        self._upload: str | None = None

    def send(self, verify: Callable[[], None], progress: Progress | None) -> None:
        """Send all parts, and complete the upload."""
        with _output_errors(self._url):
            if self._draft.size <= PIECE:
                data = self._draft.read(0, self._draft.size)
                verify()
                self._named("put_object", _md5(data), Body=data)
                if progress is not None:
                    progress(len(data))
                return
            try:
                self._upload = self._call("create_multipart_upload")["UploadId"]
                marks = self._send_parts(self._parts(), progress)
                verify()
                self._complete(marks)
            except BaseException:
                self._abort()
                raise

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._fs.call_s3(method, Bucket=self._bucket, Key=self._key, **arguments)

    def _in_upload(self, method: str, **arguments: Any) -> Any:
        return self._call(method, UploadId=self._upload, **arguments)

    def _parts(self) -> list[Part]:
        """Plan the parts; whether the store copies is found out with the first that it can."""
        copies = [entry for entry in self._draft.copies if self._is_here(entry)]
        parts = plan_parts(self._draft.size, sorted(copies, key=lambda entry: entry.place))
        first = next((n for n, part in enumerate(parts) if part.copied is not None), None)
        if first is None:
            return parts
        try:
            self._send_part(first + 1, parts[first])
        except Exception as error:
            if status_of(error) == 412:
                raise  # the input is another one
            # Not every store can, and who may read an object need not be one who may copy it.
            return plan_parts(self._draft.size, [])
        return parts

    def _is_here(self, copied: "Copied") -> bool:
        file = copied.file
        return isinstance(file, RemoteInput) and file.remote.fs is self._fs

    def _send_parts(self, parts: list[Part], progress: Progress | None) -> list[dict[str, Any]]:
        """Send parts, a few at a time; return what S3 calls them."""
        running: dict[Future[str], int] = {}
        marks: dict[int, str] = {}
        waiting = iter(enumerate(parts, start=1))
        try:
            while True:
                while len(running) < AHEAD and (entry := next(waiting, None)) is not None:
                    running[begin(self._send_part, *entry)] = entry[0]
                if not running:
                    break
                for future in wait(running, return_when="FIRST_COMPLETED").done:
                    number = running.pop(future)
                    marks[number] = future.result()
                    if progress is not None:
                        progress(parts[number - 1].size)
        finally:
            # A part that arrives after the abort would stay: those on their way are waited for.
            wait(running, timeout=_PATIENCE_S)
        return [{"PartNumber": number, "ETag": marks[number]} for number in sorted(marks)]

    def _send_part(self, number: int, part: Part) -> str:
        if part.copied is None:
            data = self._draft.read(part.place, part.size)
            answer = self._in_upload("upload_part", PartNumber=number, Body=data)
            return str(answer["ETag"])
        file = part.copied.file
        assert isinstance(file, RemoteInput)
        bucket, key, version = self._fs.split_path(file.remote.path)
        source = {"Bucket": bucket, "Key": key} | ({"VersionId": version} if version else {})
        start = part.copied.start + part.place - part.copied.place
        mark = file.remote.mark or ""
        only = {"CopySourceIfMatch": mark[5:]} if mark.startswith("ETag ") else {}
        answer = self._in_upload(
            "upload_part_copy",
            PartNumber=number,
            CopySource=source,
            CopySourceRange=f"bytes={start}-{start + part.size - 1}",
            **only,
        )
        return str(answer["CopyPartResult"]["ETag"])

    def _complete(self, marks: list[dict[str, Any]]) -> None:
        digests = [bytes.fromhex(mark["ETag"].strip('"')) for mark in marks if _is_md5(mark)]
        whole = f"{_md5(b''.join(digests))}-{len(marks)}"
        self._named(
            "complete_multipart_upload",
            whole if len(digests) == len(marks) else None,
            UploadId=self._upload,
            MultipartUpload={"Parts": marks},
        )

    def _is_there(self, mark: str | None) -> bool:
        """Tell whether the object is the one that was sent: the answer may be lost, not the data.

        The second try of a library below finds what its first one wrote.
        """
        if mark is None:
            return False
        try:
            info = file_info(self._url)
        except RemoteError:
            return False
        return info is not None and str(info.get("ETag", "")).strip('"') == mark

    def _named(self, method: str, mark: str | None, **arguments: Any) -> None:
        """Do what gives the object its name; not where another one has it, if it must not.

        `mark` is the ETag that it then has, None where it is not known (encrypted objects).
        """
        try:
            self._name(method, arguments)
        except Exception as error:
            if self._is_there(mark):
                return
            if not self._overwrite and status_of(error) in {409, 412}:
                raise self._appeared() from None
            raise

    def _name(self, method: str, arguments: dict[str, Any]) -> None:
        if self._overwrite:
            self._call(method, **arguments)
            return
        try:
            self._call(method, **arguments, IfNoneMatch="*")
        except Exception as error:
            if status_of(error) != 501:
                raise
        else:
            return
        # A store that does not know this condition: between the look and the writing is a gap.
        if file_info(self._url) is not None:
            raise self._appeared()
        self._call(method, **arguments)

    def _appeared(self) -> OutputError:
        return OutputError(
            "appeared while it was being written",
            where=self._url,
            hint="Another process writes the same output; this one left it alone.",
        )

    def _abort(self) -> None:
        """Take back what was sent, whatever stopped us."""
        if self._upload is not None:
            with contextlib.suppress(Exception):
                begin(self._in_upload, "abort_multipart_upload").result(_PATIENCE_S)


def _md5(data: bytes | bytearray) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _is_md5(mark: dict[str, Any]) -> bool:
    return len(mark["ETag"].strip('"')) == 32


def abort_uploads(url: Url) -> int:
    """Abort the unfinished uploads of an object, left by processes that were killed.

    Parameters
    ----------
    url : Url
        The object, of which nobody else is writing.

    Returns
    -------
    int
        How many there were.
    """
    fs, path = filesystem(url)
    if not is_s3(fs):
        return 0
    bucket, key, _ = fs.split_path(path)
    with _output_errors(url):
        answer = fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=key)
        found = [entry for entry in answer.get("Uploads", ()) if entry["Key"] == key]
        for entry in found:
            fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=entry["UploadId"])
    return len(found)
