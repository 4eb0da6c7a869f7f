"""Chromium without a window, driven through a pipe by the DevTools protocol
(https://chromedevtools.github.io/devtools-protocol): keys, widths, colour schemes, screenshots."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LIMIT_S = 60.0
KEY_CODES = {"Enter": (13, "\r"), "ArrowRight": (39, ""), "ArrowLeft": (37, ""), "Tab": (9, ""), "Escape": (27, "")}


class Tab:
    """One page of a browser."""

    def __init__(self, browser: Browser, session: str):
        self._browser, self._session = browser, session
        self.call("Page.enable")

    def call(self, method: str, **params: Any) -> Any:
        """What the browser answers; raises AssertionError for an error of it."""
        return self._browser.call(method, self._session, **params)

    def open(self, url: str) -> None:
        """Until the page is loaded."""
        self.call("Page.navigate", url=url)
        self.wait_for("location.href === " + json.dumps(url) + " && document.readyState === 'complete'")

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self, id_: str) -> str:
        """The visible text of an element; empty if it is hidden or missing."""
        return str(self.run(f"document.getElementById({id_!r})?.innerText ?? ''"))

    def wait_for(self, expression: str) -> None:
        """Until a JavaScript expression is true. The page itself looks, which costs less than asking it often."""
        look = f"const look = () => ({expression}) ? end(true) : Date.now() > last ? end(false) : setTimeout(look, 5)"
        waiting = f"new Promise(end => {{ const last = Date.now() + {1000 * LIMIT_S}; {look}; look(); }})"
        assert self.run(waiting), (expression, self.run("document.body.innerText"))

    def press(self, key: str) -> None:
        """A key of the keyboard, as if a person pressed it."""
        code, text = KEY_CODES.get(key, (ord(key.upper()[0]), key))
        params = {"key": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **params)
        self.call("Input.dispatchKeyEvent", type="keyUp", **params)

    def look(self, width: int, height: int = 844, scheme: str = "light") -> None:
        """Sets the window's size and the reader's colour scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


class Browser:
    """A running browser."""

    def __init__(self, to: int, back: int):
        self._to, self._back, self._number, self._read = to, back, 0, b""

    def tab(self) -> Tab:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        return Tab(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])

    def call(self, method: str, session: str | None = None, **params: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:  # an event
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> Any:
        while b"\0" not in self._read:
            assert select.select([self._back], [], [], 2 * LIMIT_S)[0], "the browser says nothing"
            part = os.read(self._back, 1 << 16)
            assert part, "the browser has ended"
            self._read += part
        message, _, self._read = self._read.partition(b"\0")
        return json.loads(message)


@contextlib.contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """A browser with its profile in `folder`."""
    (theirs, to), (back, ours) = os.pipe(), os.pipe()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe"]
    # The protocol's pipes are the file descriptors 3 and 4; sh knows none above 9.
    shell = ["bash", "-c", f'exec "$@" 3<&{theirs} 4>&{ours}', "bash", str(BROWSER), *options]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([*shell, f"--user-data-dir={folder}"], pass_fds=(theirs, ours), **silent)
    os.close(theirs)
    os.close(ours)
    try:
        browser = Browser(to, back)
        yield browser
        browser.call("Browser.close")
    finally:
        process.kill()
        process.wait()
        os.close(to)
        os.close(back)
