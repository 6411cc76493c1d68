"""Multipart bodies as they come in: what is taken, what is refused, and that no more is read than must be."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from schema.http.messages import Headers, HttpError
from schema.http.upload import Form, read_form

FIELD = b'--B\r\nContent-Disposition: form-data; name="operations"\r\n\r\n{}\r\n'
FILE = b'--B\r\nContent-Disposition: form-data; name="0"; filename="a.csv"\r\n\r\na,b\r\n'
LAST = b"--B--\r\n"
CHUNK = 10_000
ENDLESS = 1_000  # chunks


async def read(folder: Path, chunks: Iterable[bytes], *, taken: list[int] | None = None, boundary: str = "B") -> Form:
    parts = iter(chunks)

    async def receive() -> dict[str, Any]:
        body = next(parts, None)
        if taken is not None:
            taken.append(len(body or b""))
        return {"type": "http.request", "body": body or b"", "more_body": body is not None}

    headers = Headers([(b"content-type", f"multipart/form-data; boundary={boundary}".encode())])
    return await read_form(receive, headers, folder, max_field=1_000, max_file=1_000)


def pieces(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


def left(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
@pytest.mark.parametrize("around", [(b"", b""), (b"\r\n\r\n", b"\r\nan epilogue\r\n")], ids=["plain", "padded"])
async def test_a_form_is_taken_however_it_is_cut(tmp_path: Path, size: int, around: tuple[bytes, bytes]) -> None:
    before, after = around

    form = await read(tmp_path, pieces(before + FIELD + FILE + LAST + after, size))

    assert form.fields == {"operations": b"{}"}
    assert form.files["0"].path.read_bytes() == b"a,b"
    form.remove_files()
    assert left(tmp_path) == []


_LONG = b"X-Long: " + b"x" * 20_000 + b"\r\n"
_MANY = b"".join(b"X-%d: x\r\n" % number for number in range(2_000))


@pytest.mark.parametrize("headers", [_LONG, _MANY], ids=["a long one", "many"])
@pytest.mark.parametrize("size", [100, 1_000_000])
async def test_headers_of_a_part_are_limited(tmp_path: Path, headers: bytes, size: int) -> None:
    body = FILE + b"--B\r\n" + headers + FIELD.removeprefix(b"--B\r\n") + LAST

    with pytest.raises(HttpError) as refused:
        await read(tmp_path, pieces(body, size))

    assert (refused.value.status, refused.value.code) == (413, "BAD_USER_INPUT")
    assert "headers of a part" in refused.value.message
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("before", "padding"), [(b"", b"\r\n"), (FIELD + FILE + LAST, b"x" * 2)], ids=["before the first", "after the last"]
)
async def test_bytes_that_belong_to_no_part_are_limited(tmp_path: Path, before: bytes, padding: bytes) -> None:
    taken: list[int] = []

    with pytest.raises(HttpError) as refused:
        await read(tmp_path, [before, *([padding * (CHUNK // 2)] * ENDLESS)], taken=taken)

    assert (refused.value.status, refused.value.code) == (413, "BAD_USER_INPUT")
    assert sum(taken) < 20 * CHUNK
    assert left(tmp_path) == []


async def test_contents_do_not_count_as_padding(tmp_path: Path) -> None:
    small = [FIELD.replace(b"operations", b"f%d" % n).replace(b"{}", b"x" * 1_000) for n in range(19)]

    form = await read(tmp_path, [*small, LAST])

    assert len(form.fields) == 19


@pytest.mark.parametrize(
    "body", [b"", FIELD, FILE, FIELD + FILE[:-2], FIELD + FILE + b"--B", FIELD + FILE + b"--B\r\n"]
)
async def test_a_form_without_its_end_is_refused(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(HttpError) as refused:
        await read(tmp_path, [body])

    assert (refused.value.status, refused.value.code) == (400, "BAD_USER_INPUT")
    assert left(tmp_path) == []


async def test_a_boundary_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HttpError) as refused:
        await read(tmp_path, [b""], boundary="b" * 300)

    assert (refused.value.status, refused.value.code) == (400, "BAD_USER_INPUT")
