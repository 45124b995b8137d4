"""Swagger and ReDoc from the application's own files, so that they work where there is no internet."""

import gzip
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.exceptions import HTTPException

router = APIRouter(include_in_schema=False)

_STATIC = Path(__file__).parent / "static"
_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "redoc.standalone.js": "text/javascript",
}
_NO_ICON = "data:,"


@router.get("/docs")
async def swagger(request: Request) -> Response:
    """Swagger."""
    return get_swagger_ui_html(
        openapi_url=request.app.openapi_url,
        title=request.app.title,
        swagger_js_url="/docs/swagger-ui-bundle.js",
        swagger_css_url="/docs/swagger-ui.css",
        swagger_favicon_url=_NO_ICON,
    )


@router.get("/redoc")
async def redoc(request: Request) -> Response:
    """ReDoc."""
    return get_redoc_html(
        openapi_url=request.app.openapi_url,
        title=request.app.title,
        redoc_js_url="/docs/redoc.standalone.js",
        redoc_favicon_url=_NO_ICON,
        with_google_fonts=False,
    )


@router.get("/docs/{name}")
def file(request: Request, name: str) -> Response:
    """Return a file of theirs. They are kept compressed, and sent so to everybody who takes it."""
    if name not in _TYPES:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    content = (_STATIC / f"{name}.gz").read_bytes()
    headers = {"Cache-Control": "public, max-age=86400", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
    else:
        content = gzip.decompress(content)
    return Response(content, headers=headers, media_type=_TYPES[name])
