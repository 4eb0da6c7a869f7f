"""Downloads the file at an address."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import httpx

from icm_client.contract.errors import RequestError
from icm_client.http.address import shown
from icm_client.http.connection import certificate_errors
from icm_client.http.proxies import proxy_for

MAX_DOWNLOAD_BYTES = 4 * 1024**3
SCHEMES = ("http://", "https://")

Report = Callable[[str], None]


@contextlib.contextmanager
def downloaded(url: str, report: Report) -> Iterator[Path]:
    """A temporary file with the content of an http(s) URL, whose name ends as the URL's path does. Raises
    RequestError."""
    with tempfile.TemporaryDirectory(prefix="icm-data-") as folder:
        path = Path(folder, f"source{_ending(url)}")
        _download(url, path, report)
        yield path


def _ending(url: str) -> str:
    """The suffix of the URL's path, such as .csv.gz."""
    try:
        return "".join(PurePosixPath(urlsplit(url).path).suffixes[-2:])[-40:]
    except ValueError:
        raise _no_url(url) from None


class _ByRoute(httpx.BaseTransport):
    """Sends each request, including redirects, through the proxy for its own address."""

    def __init__(self) -> None:
        self._used: list[httpx.HTTPTransport] = []
        self.by_proxy = ""
        """Text added to an error of the last request, if a proxy was used."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        proxy = proxy_for(str(request.url))
        self.by_proxy = proxy.hint(request.url.host) if proxy else ""
        with certificate_errors():
            self._used.append(httpx.HTTPTransport(proxy=proxy.url if proxy else None))
        return self._used[-1].handle_request(request)

    def close(self) -> None:
        for transport in self._used:
            transport.close()


def _download(url: str, path: Path, report: Report) -> None:
    place, route = shown(url), _ByRoute()
    try:
        with (
            httpx.Client(transport=route, follow_redirects=True, timeout=httpx.Timeout(30.0)) as http,
            http.stream("GET", url) as response,
            path.open("wb") as file,
        ):
            if response.status_code != 200:
                raise RequestError(f"{place}: the server answered {response.status_code}{route.by_proxy}")
            for chunk in response.iter_bytes():
                file.write(chunk)
                if file.tell() > MAX_DOWNLOAD_BYTES:
                    raise RequestError(f"{place}: larger than {MAX_DOWNLOAD_BYTES} bytes")
                report(f"{file.tell() / 1e6:,.0f} MB downloaded")
    except httpx.InvalidURL:
        raise _no_url(url) from None  # the error of httpx would show a password
    except httpx.HTTPError as error:
        why = str(error) or type(error).__name__
        raise RequestError(f"{place}: cannot be downloaded ({why}){route.by_proxy}") from None
    except OSError as error:
        raise RequestError(f"{place}: {error.strerror or error}") from None


def _no_url(url: str) -> RequestError:
    return RequestError(f"{shown(url)}: cannot be downloaded: it is no URL")
