"""The review page's server: HTTP on this machine only, for who holds the address with its token."""

from __future__ import annotations

import secrets
import socketserver
import sys
import threading
from typing import Any

from icm_annealer.reviewing.handler import Handler, Site
from icm_annealer.reviewing.review import Review
from icm_client.contract.errors import RequestError

HOST = "127.0.0.1"
MAX_CONNECTIONS = 64


class ReviewServer(socketserver.ThreadingTCPServer):
    """Serves one review until `shutdown`. `url` is the page's address; whoever knows it may decide labels."""

    # Not http.server's HTTPServer, which asks the name service for the machine's name.
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, review: Review, port: int = 0):
        """Opens the port; 0 is any free one. Raises RequestError if it is taken."""
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        try:
            super().__init__((HOST, port), socketserver.BaseRequestHandler)
        except OSError as error:
            raise RequestError(f"port {port} of {HOST}: {error.strerror}; give another --port") from None
        hosts = f"{HOST}:{self.port}", f"localhost:{self.port}"
        self._site = Site(review, secrets.token_urlsafe(32), hosts)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/{self._site.token}/"

    def finish_request(self, request: Any, client_address: Any) -> None:
        Handler(self._site, request, client_address, self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Closes a connection at once if there are too many."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is no error."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)
