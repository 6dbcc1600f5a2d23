"""Certificates for receivers that speak https: an authority of their own and a host's chain."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


def make_certificates(
    folder: Path, *, host: str, begins: timedelta = -DAY, ends: timedelta = DAY
) -> tuple[Path, Path]:
    """PEM files: the authority to trust, and the host's certificate with its key.

    The certificate is valid between two moments, counted from now.
    """
    authority_key, host_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = _name("Test authority")
    authority = (
        _builder(issuer, issuer, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(authority_key, hashes.SHA256())
    )
    certificate = (
        _builder(issuer, _name(host), host_key, begins=begins, ends=ends)
        .add_extension(x509.SubjectAlternativeName([_subject(host)]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    trusted = folder / "authority.pem"
    trusted.write_bytes(_pem(authority))
    return trusted, _written(folder / "chain.pem", certificate, host_key)


def make_self_signed(folder: Path, *, host: str) -> Path:
    """A PEM file: a certificate that is its own authority, with its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), _name(host)
    certificate = (
        _builder(name, name, key)
        .add_extension(x509.SubjectAlternativeName([_subject(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _written(folder / "self-signed.pem", certificate, key)


def _written(path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Path:
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(_pem(certificate) + private)
    return path


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _subject(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _builder(
    issuer: x509.Name,
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    begins: timedelta = -DAY,
    ends: timedelta = DAY,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
    )
