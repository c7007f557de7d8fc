"""Certificates for tests, signed by a CA of our own."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KEY_PASSWORD = "the password of the private key"


class Certificates(NamedTuple):
    """Files in PEM: a CA, a server's chain and encrypted key, a client's chain and key."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


def _signed(
    name: str, key: Any, by: tuple[x509.Name, Any] | None, usage: x509.ObjectIdentifier | None
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signer = by or (subject, key)
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if usage is None:
        use = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = builder.add_extension(use, critical=True)
    else:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(
            x509.SubjectAlternativeName([address]), critical=False
        ).add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(signer, hashes.SHA256())


def make_certificates(folder: Path) -> Certificates:
    """Make a CA, and sign certificates for 127.0.0.1 and for a client; in `folder`."""
    files = Certificates(*(folder / f"{field}.pem" for field in Certificates._fields))
    ca_key, server_key, client_key = (
        rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(3)
    )
    ca = _signed("test CA", ca_key, None, None)
    by = (ca.subject, ca_key)
    server = _signed("server", server_key, by, ExtendedKeyUsageOID.SERVER_AUTH)
    client = _signed("client", client_key, by, ExtendedKeyUsageOID.CLIENT_AUTH)
    for path, certificate in ((files.ca, ca), (files.server, server), (files.client, client)):
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    for path, key, encryption in (
        (
            files.server_key,
            server_key,
            serialization.BestAvailableEncryption(KEY_PASSWORD.encode()),
        ),
        (files.client_key, client_key, serialization.NoEncryption()),
    ):
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
            )
        )
    return files
