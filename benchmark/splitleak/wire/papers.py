"""Certificates of a day, for tests and measurements on loopback: an authority, and what it signs."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Authority:
    """`ca.pem` in a folder, and `<name>.pem` with `<name>.key` for each one signed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.cert = self._made("ca", self.key, x509.BasicConstraints(ca=True, path_length=None))
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self.cert.public_bytes(serialization.Encoding.PEM))

    def sign(self, name: str, host: str = "127.0.0.1") -> list[str]:
        """The options of a command that shows this certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        hosts = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(host))])
        cert = self._made(name, key, hosts)
        (self.folder / f"{name}.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        (self.folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return [
            "--cert",
            str(self.folder / f"{name}.pem"),
            "--key",
            str(self.folder / f"{name}.key"),
            "--ca",
            str(self.ca),
        ]

    def _made(self, name: str, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = subject if name == "ca" else self.cert.subject
        made = x509.CertificateBuilder(
            issuer, subject, key.public_key(), x509.random_serial_number(), now - DAY, now + DAY
        )
        return made.add_extension(extension, critical=name == "ca").sign(self.key, hashes.SHA256())
