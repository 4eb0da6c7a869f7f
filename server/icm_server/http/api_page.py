"""The scorer's OpenAPI document as a web page: plain HTML without scripts or external resources."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request, Response

from icm_server.auth.open_paths import OPEN_PATHS
from icm_server.http.page_headers import page_headers

TEMPLATE = resources.files("icm_server.http").joinpath("api_page.html").read_text(encoding="utf-8")
REF = "#/components/schemas/"
JSON = "application/json"
LIMITS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
    "minLength": "characters: at least",
    "maxLength": "characters: at most",
    "minItems": "entries: at least",
    "maxItems": "entries: at most",
    "pattern": "pattern",
}
Schema = Mapping[str, Any]


def add_api_page(app: FastAPI) -> None:
    """Adds `GET /docs`. The page is rendered at the first request, when all routes exist."""
    made: list[str] = []

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        if not made:
            made.append(api_page(app.openapi()))
        page = made[0].replace("<!-- url -->", escape(str(request.base_url)))
        return Response(page, media_type="text/html", headers=page_headers(TEMPLATE))


def api_page(document: Schema) -> str:
    """The HTML page of an OpenAPI document."""
    schemas = document.get("components", {}).get("schemas", {})
    paths = "".join(
        _operation(path, method, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )
    shapes = "".join(_shape(name, schema) for name, schema in sorted(schemas.items()))
    return TEMPLATE.replace("<!-- paths -->", paths).replace("<!-- shapes -->", shapes)


def _operation(path: str, method: str, operation: Schema) -> str:
    open_to_all = '<span class="open">needs no key</span>' if path in OPEN_PATHS else ""
    parts = [f"<h3><b>{escape(method.upper())}</b>{escape(path)}{open_to_all}</h3>", _text(operation)]
    if "requestBody" in operation:
        parts += ["<h4>Body</h4>", _fields(operation["requestBody"]["content"][JSON]["schema"])]
    answer = operation["responses"].get("200", {}).get("content", {})
    if JSON in answer:
        others = "".join(f", or as <code>{escape(kind)}</code>" for kind in answer if kind != JSON)
        parts.append(f"<h4>Answer</h4><p>{_type(answer[JSON].get('schema', {}))}{others}</p>")
    return f"<section>{''.join(parts)}</section>\n"


def _shape(name: str, schema: Schema) -> str:
    return f'<section id="{escape(name)}"><h3>{escape(name)}</h3>{_text(schema)}{_fields(schema)}</section>\n'


def _text(described: Schema) -> str:
    return "".join(f"<p>{_marked(part)}</p>" for part in described.get("description", "").split("\n\n") if part)


def _marked(text: str) -> str:
    """Escaped text, with backticked parts as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _fields(schema: Schema) -> str:
    if "properties" not in schema:
        return f"<p>{_type(schema)}</p>"
    required = schema.get("required", ())
    rows = (
        f"<tr><td><code>{escape(name)}</code></td><td>{_type(field)}{_text(field)}"
        f"<small>{escape(', '.join(_notes(field, name in required)))}</small></td></tr>"
        for name, field in schema["properties"].items()
    )
    return f"<table>{''.join(rows)}</table>"


def _notes(field: Schema, is_required: bool) -> Iterator[str]:
    if is_required:
        yield "required"
    if "default" in field:
        yield f"default {json.dumps(field['default'])}"
    for part in (field, *field.get("anyOf", ())):
        yield from (f"{words} {_plain(part[key])}" for key, words in LIMITS.items() if key in part)


def _plain(value: float | str) -> str:
    return f"{value:,.10g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        name = escape(str(schema["$ref"]).removeprefix(REF))
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "const" in schema:
        return f"<code>{escape(json.dumps(schema['const']))}</code>"
    if "enum" in schema:
        return " or ".join(f"<code>{escape(json.dumps(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        inner = _type(schema.get("items", {}))
        return f"list of ({inner})" if " or " in inner else f"list of {inner}"
    if isinstance(schema.get("additionalProperties"), Mapping):
        return f"object whose values are each: {_type(schema['additionalProperties'])}"
    return escape(str(schema.get("type", "any value")))
