"""Where the object store is and how patient its client is; no credential is ever written anywhere."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from realfeatures.errors import ConfigError, Retries

LOCATION_VARIABLE = "REALFEATURES_STORE"
ENDPOINT_VARIABLE = "AWS_ENDPOINT_URL"
SECRET_VARIABLE = "REALFEATURES_STORE_SECRET"  # noqa: S105 - a variable's name
"""Folder of a mounted Kubernetes secret with the files accesskey and secretkey."""

AWS_ENDPOINT = "https://s3.amazonaws.com"
DEFAULT_REGION = "us-east-1"
"""What servers other than AWS's take for granted."""

_LOCATION = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>[\w./-]*))?")
"""Bucket names: AWS, "Bucket naming rules"."""


@dataclass(frozen=True, kw_only=True)
class Patience(Retries):
    """How long an operation is tried."""

    connect_seconds: float = 10.0
    read_seconds: float = 60.0
    """Without a byte; chosen: a busy server may take long over the last part of a large object."""


@dataclass(frozen=True)
class Settings:
    """A store's place and credentials."""

    bucket: str
    prefix: str
    """Empty, or ending in a slash."""
    endpoint: str
    """URL of the server."""
    region: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)

    @property
    def location(self) -> str:
        """What a person calls the store."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def host(self) -> str:
        """Host and port of the server."""
        return urlsplit(self.endpoint).netloc

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return urlsplit(self.endpoint).scheme == "https"


def is_location(text: str) -> bool:
    """Return whether a text names a bucket, with a prefix or without."""
    return _LOCATION.fullmatch(text) is not None


def read_settings(location: str, environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of a store.

    Args:
        location: s3://BUCKET or s3://BUCKET/PREFIX.
        environment: has AWS_ENDPOINT_URL, AWS_REGION, and AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, or
            REALFEATURES_STORE_SECRET.

    Raises:
        ConfigError: location, endpoint or credentials are missing or not of their form.
    """
    match = _LOCATION.fullmatch(location.strip())
    if not match:
        raise ConfigError(f"store {location!r}: expected s3://BUCKET or s3://BUCKET/PREFIX")
    prefix = (match["prefix"] or "").strip("/")
    endpoint = environment.get(ENDPOINT_VARIABLE) or AWS_ENDPOINT
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/"):
        raise ConfigError(f"{ENDPOINT_VARIABLE}={endpoint!r}: expected http://HOST:PORT or https://HOST")
    access_key, secret_key = _credentials(environment)
    region = environment.get("AWS_REGION") or DEFAULT_REGION
    return Settings(match["bucket"], f"{prefix}/" if prefix else "", endpoint, region, access_key, secret_key)


def _credentials(environment: Mapping[str, str]) -> tuple[str, str]:
    if folder := environment.get(SECRET_VARIABLE):
        try:
            return tuple(Path(folder, name).read_text().strip() for name in ("accesskey", "secretkey"))  # type: ignore[return-value]
        except OSError as error:
            raise ConfigError(
                f"{SECRET_VARIABLE}={folder}: expected the files accesskey and secretkey ({error.strerror});"
                " mount the secret there"
            ) from None
    keys = (environment.get("AWS_ACCESS_KEY_ID", ""), environment.get("AWS_SECRET_ACCESS_KEY", ""))
    if not all(keys):
        raise ConfigError(
            "no credentials for the object store; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or"
            f" {SECRET_VARIABLE} to the folder of a mounted secret"
        )
    return keys
