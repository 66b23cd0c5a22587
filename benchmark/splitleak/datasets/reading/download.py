"""Download of one raw file over HTTP, tried up to three times and checked against its published sha256."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request

from splitleak import __version__
from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.checksums import MAX_BYTES, mismatch

TRIES, PAUSE = 3, 1.0  # attempts for a file; seconds before the second one, twice as many before the third
TIMEOUT = 60.0  # seconds without a byte


def download(url: str, digest: str) -> bytes:
    """The file's content, or BadInput with the reason of the last failure; a status below 500 is not tried again."""
    reason = ""
    for attempt in range(TRIES):
        time.sleep(PAUSE * attempt)
        try:
            request = urllib.request.Request(url, headers={"User-Agent": f"splitleak/{__version__}"})
            with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:
                content: bytes = reply.read(MAX_BYTES + 1)
        except urllib.error.HTTPError as error:
            reason = f"HTTP status {error.code}, {error.reason}"
            if error.code < 500:
                break
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = str(getattr(error, "reason", "") or error) or type(error).__name__
        else:
            reason = mismatch(url, content, digest)
            if not reason:
                return content
    raise BadInput(f"cannot download {url}: {reason}; run again to go on, or give the files with --from")
