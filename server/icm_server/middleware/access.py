"""Authentication before every path, and what a key allows."""

from __future__ import annotations

import base64
import binascii
import ipaddress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from icm_client.contract.errors import AccessError, RequestError
from icm_client.contract.wire import DEFAULT_EXPERIMENT, ScoreRequest
from icm_server.auth.keyring import Keyring
from icm_server.auth.keys_file import keys_file_at
from icm_server.auth.open_paths import OPEN_PATHS
from icm_server.auth.tenant import ANYONE, Tenant
from icm_server.config import ServerConfig
from icm_server.middleware.incoming import FOR_STRANGERS, Incoming, refuse

CHALLENGES = (
    ("WWW-Authenticate", "Bearer"),
    ("WWW-Authenticate", 'Basic realm="icm-server: any name, the API key as password"'),
)
"""Two headers: Chromium reads one challenge per header, and would not ask for a password if Basic came second."""


class Access:
    """ASGI middleware: 401 without a valid key; otherwise stores the key's tenant in `request.state.tenant`.

    A key comes as `Authorization: Bearer KEY`, or as the password of Basic, which browsers can send.
    """

    def __init__(self, app: ASGIApp, keyring: Keyring | None):
        self._app, self._keyring = app, keyring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            tenant = self._tenant(scope)
        except AccessError as error:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await refuse(error, CHALLENGES, Incoming(receive), scope, receive, send, FOR_STRANGERS)
            return
        state = scope.setdefault("state", {})
        state["tenant"] = tenant
        if tenant is not ANYONE and "connection" in state:
            state["connection"].known_as(tenant.name)
        await self._app(scope, receive, send)

    def _tenant(self, scope: Scope) -> Tenant:
        if self._keyring is None or scope["path"] in OPEN_PATHS:
            return ANYONE
        header = Headers(scope=scope).get("authorization")
        if header is None:
            raise AccessError(
                "this scorer needs an API key: give `icm` the option --api-key-file FILE or set ICM_API_KEY_FILE; "
                "other programs send the header Authorization: Bearer KEY",
                code="no_key",
            )
        tenant = self._keyring.tenant_of(key_in(header))
        if tenant is None:
            raise AccessError(
                "invalid API key: the operator of the scorer makes keys with `icm-server key new`",
                code="wrong_key",
            )
        return tenant


def allowed(tenant: Tenant, request: ScoreRequest) -> ScoreRequest:
    """The request with its tenant's defaults: without an experiment, it counts for the experiment of the tenant's name;
    that name also takes the place of `default` in `default-...`, which clients make up, if the tenant may run that.

    Raises AccessError (403) if the tenant may not use the experiment or the priority.
    """
    if request.priority > tenant.max_priority:
        raise AccessError(
            f"this API key allows priorities up to {tenant.max_priority}, not {request.priority}",
            code="not_your_priority",
            status=403,
        )
    if tenant.may_run(request.experiment):
        return request
    if request.experiment == DEFAULT_EXPERIMENT or request.experiment.startswith(f"{DEFAULT_EXPERIMENT}-"):
        own = tenant.name + request.experiment.removeprefix(DEFAULT_EXPERIMENT)
        return request.model_copy(update={"experiment": own if tenant.may_run(own) else tenant.name})
    names = ", ".join([tenant.name, *(tenant.experiments or [f"{tenant.name}-*"])])
    raise AccessError(
        f"this API key allows the experiments {names}, not {request.experiment!r}",
        code="not_your_experiment",
        status=403,
    )


def keyring_for(config: ServerConfig) -> Keyring | None:
    """The keys that a scorer is started with. Raises RequestError if other machines can connect and there are none.

    /dev/null, which a container gets if no file is set, counts as no keys file.
    """
    path = None if config.keys_file is None else keys_file_at(config.keys_file)
    if path is not None and not path.is_char_device():
        return Keyring(path, one_of=config.one_of)
    hosts = (config.published_at or config.host).split(",")
    host = next((host for host in hosts if not _is_loopback(host)), None)
    if host is not None and not config.allow_no_keys:
        raise RequestError(
            f"anyone who can connect to {host} could use this scorer: set --keys-file FILE (`icm-server key "
            f"new NAME` makes "
            "one), or --allow-no-keys on a private network",
            code="no_keys",
        )
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def key_in(header: str) -> str:
    """The key of an Authorization header; empty if it has none."""
    scheme, _, value = header.partition(" ")
    value = value.strip()
    if scheme.lower() != "basic":
        return value if scheme.lower() == "bearer" else ""
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
