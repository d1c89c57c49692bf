"""The certificate of one run's coordinator: made for it, in memory, and worth nothing after it.

Nobody vouches for it, and nobody has to: its fingerprint is part of what coordinator and agents prove to each other.
"""

from __future__ import annotations

import datetime

from regiment.jobs.errors import UserError

_LIFE = datetime.timedelta(days=3650)
"""Its dates mean nothing: agents look at none, and no two machines' clocks are ever compared."""


def make_certificate() -> tuple[str, str]:
    """Make a certificate and its private key, as PEM."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ModuleNotFoundError:
        raise UserError(
            "node 0 of a run over a network needs the package 'cryptography'; "
            "pip install 'regiment[network]' there (the other nodes need nothing)"
        ) from None
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "regiment")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LIFE)
        .not_valid_after(now + _LIFE)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()
