"""A Dask cluster of one scheduler and two worker processes, with TLS over TCP, and a database for its tests."""

import asyncio
import ipaddress
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ledger.database import Connection, connect
from ledger.store.registry import Ledger, create_ledger
from projections.engine.digest import Digest
from service.embedded.server import EmbeddedPostgres
from tests.conftest import fresh_database
from tests.projections.rebuild.test_rebuild import told
from tests.service.cli.test_cli import ROOT, clean_environment


class Cluster:
    """The processes of a Dask cluster, as the guide starts them. Its workers know the database from their environment.

    `environment` holds the certificates as Dask's variables name them.
    """

    def __init__(self, folder: Path, dsn: str) -> None:
        self.folder, self.dsn = folder, dsn
        write_certificates(folder)
        self.environment = {
            "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(folder / "ca.pem"),
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT": str(folder / "cert.pem"),
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY": str(folder / "key.pem"),
        }
        self.scheduler_file = folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--protocol", "tls")
        self.workers = [self.start_worker(), self.start_worker()]

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Start a worker. It connects to the scheduler when there is one."""
        return self._start(
            "worker", "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder),
            "--protocol", "tls", database=self.dsn,
        )  # fmt: skip

    def _start(self, role: str, *options: str, database: str = "") -> subprocess.Popen[bytes]:
        tls = ("--tls-ca-file", "ca.pem", "--tls-cert", "cert.pem", "--tls-key", "key.pem")
        with (self.folder / f"{role}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", role, "--scheduler-file", str(self.scheduler_file), "--no-dashboard",
                 *tls, *options],
                cwd=self.folder, env=clean_environment() | {"DATABASE_URL": database, "PYTHONPATH": str(ROOT)},
                stdout=log, stderr=log,
            )  # fmt: skip

    async def address(self) -> str:
        """Return the address of the scheduler when it has one."""
        while not self.scheduler_file.exists():
            assert self.scheduler.poll() is None, (self.folder / "scheduler.log").read_text()
            await asyncio.sleep(0.05)
        return str(json.loads(self.scheduler_file.read_text())["address"])

    def stop(self) -> None:
        """End all processes."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture(autouse=True)
def watchdog() -> None:
    """Watch nothing: a rebuild by a cluster is a command, and no request waits at its event loop."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster_dsn(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """The database of all tests of the cluster."""
    async with fresh_database(postgres) as fresh:
        yield fresh


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def projected(cluster_dsn: str) -> AsyncIterator[tuple[Connection, Ledger, Digest]]:
    """A connection, a ledger with a history, and the digest of its live rows."""
    connection = await connect(cluster_dsn)
    ledger = await create_ledger(connection, "acme")
    yield connection, ledger, await told(connection, ledger)
    await connection.close()


@pytest.fixture(scope="module")
def cluster(cluster_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with two workers. This process's configuration of Dask names the certificates."""
    import_module("distributed")  # its import sets the defaults. Here, because collecting tests would take longer
    started = Cluster(tmp_path_factory.mktemp("cluster"), cluster_dsn)
    names = {
        name.removeprefix("DASK_").replace("__", ".").replace("CA_FILE", "ca-file").lower(): path
        for name, path in started.environment.items()
    }
    with import_module("dask").config.set(names):
        yield started
    started.stop()


def write_certificates(folder: Path) -> None:
    """Write the certificate of an authority, and one certificate with its key that it has issued."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = certificate("test authority", authority_key.public_key(), "test authority", authority_key, is_ca=True)
    issued = certificate("cluster", key.public_key(), "test authority", authority_key, is_ca=False)
    (folder / "ca.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    (folder / "cert.pem").write_bytes(issued.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def certificate(
    subject: str, key: ec.EllipticCurvePublicKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey, *, is_ca: bool
) -> x509.Certificate:
    """Issue a certificate for one day."""
    start = datetime.now(UTC) - timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
