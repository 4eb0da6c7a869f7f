"""Names of adapters: whose each is, and who may use it."""

from __future__ import annotations

import re

from icm_client.contract.adapters import ADAPTER_NAME, MAX_ADAPTER_NAME
from icm_client.contract.errors import AccessError, RequestError
from icm_server.adapters.version import BASE_KEY, Version
from icm_server.auth.tenant import ANYONE, Tenant


class AdapterNames:
    """What each name stands for now. A tenant's own adapter comes before one for all keys."""

    def __init__(self) -> None:
        self.versions: dict[tuple[str | None, str], Version] = {}
        """By owner and name; the owner of an adapter for all keys is None."""

    def found(self, name: str, tenant: Tenant) -> Version:
        """The adapter that the tenant means. Raises AccessError or RequestError."""
        own = self.versions.get((tenant.name, name))
        if own is not None:
            return own
        if not tenant.may_use(name):
            raise AccessError(f"this API key may not use the model {name!r}", code="not_your_model", status=403)
        shared = self.versions.get((None, name))
        if shared is None:
            raise RequestError(
                f"no model {name!r}: the scorer serves {', '.join([BASE_KEY, *self.visible_to(tenant)])}",
                code="unknown_model",
            )
        return shared

    def visible_to(self, tenant: Tenant) -> dict[str, Version]:
        """What the tenant may use by name, in the order of names: its own adapters, and those for all keys."""
        found = {name: version for (owner, name), version in self.versions.items() if _may_see(tenant, owner, name)}
        own = {name: version for (owner, name), version in self.versions.items() if owner == tenant.name}
        return dict(sorted((found | own).items()))

    def seen_by(self, tenant: Tenant) -> dict[tuple[str | None, str], Version]:
        """What the tenant may know of, by owner and name: an admin of all adapters, others of what they may use."""
        return {
            (owner, name): version
            for (owner, name), version in self.versions.items()
            if tenant.admin or _may_see(tenant, owner, name)
        }

    def check_free(self, name: str, tenant: Tenant, owner: str | None) -> None:
        """Raises RequestError unless the tenant may put an adapter of the owner under this name."""
        if not re.fullmatch(ADAPTER_NAME, name) or len(name) > MAX_ADAPTER_NAME or name == BASE_KEY:
            raise RequestError(
                f"{name[:100]!r} cannot be an adapter's name: up to {MAX_ADAPTER_NAME} letters, digits and any of "
                f"_ . : @ + -, the first one a letter, a digit or _; and not {BASE_KEY!r}",
                code="bad_adapter_name",
            )
        taken = self.versions.get((None, name))
        if taken is not None and (taken.folder is None if owner is None else _may_see(tenant, None, name)):
            raise RequestError(
                f"{name!r} is the name of an adapter for all keys: choose another name", code="name_taken", status=409
            )


def owner_of(tenant: Tenant, *, shared: bool) -> str | None:
    """Whose adapter the tenant puts or deletes: without keys, it is for all. Raises AccessError if the tenant may not
    do so for all keys."""
    if shared and not tenant.admin:
        raise AccessError("only an admin key may change adapters for all keys", code="not_admin", status=403)
    return None if shared or tenant is ANYONE else tenant.name


def _may_see(tenant: Tenant, owner: str | None, name: str) -> bool:
    return owner == tenant.name or (owner is None and tenant.may_use(name))
