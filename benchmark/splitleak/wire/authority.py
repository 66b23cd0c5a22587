"""A certificate authority for tests and measurements on loopback; its certificates are valid for one day."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from splitleak.wire.certificate_number import number_of

DAY = datetime.timedelta(days=1)


class Authority:
    """It writes `ca.pem` into a folder, and `<name>.pem` with `<name>.key` for each certificate.

    A certificate's common name is its name: `client0` for client 0.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.cert = self._certificate("ca", self.key, x509.BasicConstraints(ca=True, path_length=None))
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self.cert.public_bytes(serialization.Encoding.PEM))

    def sign(self, name: str, host: str = "127.0.0.1") -> list[str]:
        """A new certificate, as options of `serve` and `join`; only one that is no client's can speak for a host."""
        key = ec.generate_private_key(ec.SECP256R1())
        hosts = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(host))])
        client = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        cert = self._certificate(name, key, hosts if number_of(name) is None else client)
        cert_path, key_path = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert_path.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        key_path.write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
        return ["--cert", str(cert_path), "--key", str(key_path), "--ca", str(self.ca)]

    def _certificate(
        self, name: str, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = subject if name == "ca" else self.cert.subject
        serial = x509.random_serial_number()
        builder = x509.CertificateBuilder(issuer, subject, key.public_key(), serial, now - DAY, now + DAY)
        return builder.add_extension(extension, critical=name == "ca").sign(self.key, hashes.SHA256())
