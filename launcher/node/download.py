"""Downloading one file over http or https with the standard library, whole or not at all."""

from __future__ import annotations

import http.client
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from typing import IO, Any

from regiment.jobs.locations import is_http, shown

from .fetch import CannotFetch

_SILENCE_LIMIT = 60.0
"""Seconds a server may be silent."""
_PAUSES = (0.5, 2.0)
"""Seconds before each further try after a trouble that may pass."""
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be others a moment later."""
_CHUNK = 1024 * 1024
_REPORT_INTERVAL = 5.0

Report = Callable[[int, int | None], None]


class _Passing(Exception):
    """A trouble that may have passed at the next try."""


def download(url: str, target: str, report: Report) -> int:
    """Download a URL into the file `target`, telling `report` bytes and total now and then; gives the size."""
    for pause in (*_PAUSES, None):
        try:
            return _download(url, target, report)
        except _Passing as error:
            if pause is None:
                raise CannotFetch(f"{shown(url)}: {error}, {len(_PAUSES) + 1} times in a row") from None
            time.sleep(pause)
    raise AssertionError


def _download(url: str, target: str, report: Report) -> int:
    request = urllib.request.Request(url, headers={"User-Agent": "regiment", "Accept-Encoding": "identity"})
    try:
        with _opener().open(request, timeout=_SILENCE_LIMIT) as response, open(target, "wb") as file:
            length = response.headers.get("Content-Length")
            total = int(length) if length and length.isdecimal() else None
            size = _copy(response, file, total, report)
            file.flush()
            os.fsync(file.fileno())
    except urllib.error.HTTPError as error:
        answered = f"the server answered {error.code} {error.reason}"
        if error.code in _PASSING:
            raise _Passing(answered) from None
        raise CannotFetch(f"{shown(url)}: {answered}; check the URL, or give another with --input") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise CannotFetch(f"{shown(url)}: its certificate is not valid: {error.reason.verify_message}") from None
        raise _Passing(str(getattr(error.reason, "strerror", None) or error.reason)) from None
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _Passing(f"the connection broke: {str(error) or type(error).__name__}") from None
    if total is not None and size != total:
        raise _Passing(f"the body ended after {size} of {total} bytes")
    return size


def _copy(response: IO[bytes], file: IO[bytes], total: int | None, report: Report) -> int:
    size, reported = 0, time.monotonic()
    while block := response.read(_CHUNK):
        file.write(block)
        size += len(block)
        if time.monotonic() - reported >= _REPORT_INTERVAL:
            reported = time.monotonic()
            report(size, total)
    return size


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to other web addresses only, and never from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not is_http(newurl) or (req.type == "https" and not newurl.lower().startswith("https://")):
            raise CannotFetch(f"{shown(req.full_url)}: it redirects to {shown(newurl)}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message[str, str]
    ) -> Any:
        # urllib itself refuses other schemes before it asks redirect_request, with words that help nobody.
        where = headers.get("location") or headers.get("uri") or ""
        if ":" in where.partition("/")[0] and not is_http(where):
            raise CannotFetch(f"{shown(req.full_url)}: it redirects to {shown(where)}, which is not followed")
        return super().http_error_302(req, fp, code, msg, headers)  # type: ignore[arg-type]

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _opener() -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    # Exactly these: the usual opener also reads file: and ftp: URLs.
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener
