"""The connection to an object store: minio's client, as this project wants it."""

import os
from typing import TYPE_CHECKING, Any

from realfeatures.store.settings import Patience, Settings

if TYPE_CHECKING:
    from minio import Minio


def minio_client(settings: Settings, patience: Patience, *, only_new: bool) -> "Minio":
    """Return minio's client, without retries of its own: ours are told, random and bounded."""
    import certifi
    import urllib3
    from minio import Minio

    class OnlyNew(urllib3.PoolManager):
        """Asks the server to refuse an object that is there already; minio's own interface has no such option."""

        def urlopen(self, method: str, url: str, redirect: bool = True, **rest: Any) -> Any:  # type: ignore[override]
            # An object appears with its only PUT, or with the POST that completes its parts.
            if (method == "PUT" and "partNumber=" not in url) or (method == "POST" and "uploadId=" in url):
                rest["headers"] = {**(rest.get("headers") or {}), "If-None-Match": "*"}
            return super().urlopen(method, url, redirect, **rest)

    pool = (OnlyNew if only_new else urllib3.PoolManager)(
        timeout=urllib3.Timeout(connect=patience.connect_seconds, read=patience.read_seconds),
        maxsize=10,  # minio's own value
        cert_reqs="CERT_REQUIRED",
        ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
        retries=urllib3.Retry(total=False, redirect=2),
    )
    return Minio(
        settings.host,
        access_key=settings.access_key,
        secret_key=settings.secret_key,
        secure=settings.secure,
        region=settings.region,
        http_client=pool,
    )
