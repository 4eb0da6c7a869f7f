"""Where builders read from: a file, a dataset, or a file behind a URL."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import httpx

from icm_annealer.builders.built import Report
from icm_annealer.rows import Rows, read_rows
from icm_client.errors import RequestError

MAX_DOWNLOAD_BYTES = 4 * 1024**3


@contextlib.contextmanager
def opened(source: str, report: Report) -> Iterator[Rows]:
    """The rows of what `read_rows` takes, or of an http(s) URL, which is downloaded for the time being.

    Raises RequestError; the rows do too, as they are read.
    """
    if not source.startswith(("http://", "https://")):
        yield read_rows(source, report)
        return
    with tempfile.TemporaryDirectory(prefix="icm-data-") as folder:
        endings = PurePosixPath(urlsplit(source).path).suffixes[-2:]  # such as .csv.gz
        path = Path(folder, "source" + "".join(endings)[-40:])
        _download(source, path, report)
        try:
            yield read_rows(path, report)
        except RequestError as error:
            raise RequestError(error.message.replace(str(path), source), code=error.code) from None


def _download(url: str, path: Path, report: Report) -> None:
    try:
        with (
            httpx.stream("GET", url, follow_redirects=True, timeout=httpx.Timeout(30.0)) as response,
            path.open("wb") as file,
        ):
            if response.status_code != 200:
                raise RequestError(f"{url}: the server answered {response.status_code}")
            for chunk in response.iter_bytes():
                file.write(chunk)
                if file.tell() > MAX_DOWNLOAD_BYTES:
                    raise RequestError(f"{url}: larger than {MAX_DOWNLOAD_BYTES} bytes")
                report(f"{file.tell() / 1e6:,.0f} MB downloaded")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise RequestError(f"{url}: cannot be downloaded ({error or type(error).__name__})") from None
    except OSError as error:
        raise RequestError(f"{url}: {error.strerror or error}") from None
