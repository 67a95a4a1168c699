"""Who vouches for a folder: `model.sig`, made by model_signing with an EC key over the sha256 of every file.

The manifest tells rot from health, but whoever can write the files can write a manifest that fits them. The signature cannot
be made without the private key. It is a Sigstore bundle (DSSE envelope, in-toto statement), which an auditor checks with
model_signing's own command, without seqline:

    python -m model_signing verify key FOLDER --signature FOLDER/model.sig --public_key signing.pub --no-ignore-git-paths

Reading is done here, on `cryptography` alone: importing model_signing brings sigstore, TUF and urllib3, which binds a socket
as it is imported (an engine opens none while it loads), 0.3 s and 50 MB. A test holds that both judge alike.
"""

import base64
import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.artifact import SIGNATURE, Corrupt, file_sha256
from pipelines.errors import UserError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"
HASH_BITS = {"secp256r1": 256, "secp384r1": 384, "secp521r1": 512}
"""Curves that model_signing knows, and the bits of the SHA-2 that goes with each."""
MEND = "`seqline retrain` registers a signed version"


def make_key(path: Path) -> None:
    """Write a new EC P-256 private key (PEM, mode 0600) unless there is one; two processes at once agree on one."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    plain = serialization.NoEncryption()
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as fresh:  # mode 0600 by itself
        fresh.write(pem)
        fresh.flush()
        os.fsync(fresh.fileno())
        with suppress(FileExistsError):
            os.link(fresh.name, path)  # whole, or not at all


def public_pem(private_key: Path) -> bytes:
    """The public half (PEM) of a private key.

    Raises:
        UserError: it cannot be read, or is not an EC key without password on a curve that model_signing knows.
    """
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_private_key(private_key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        raise UserError(f"{private_key.name}: not a PEM private key without password: {_how_to_make_one()}") from None
    return _pem(_known(key.public_key(), private_key))


def fingerprint_of(private_key: Path) -> str:
    """The fingerprint of the signer who holds `private_key`. Raises UserError as `public_pem` does."""
    return hashlib.sha256(public_pem(private_key)).hexdigest()


def fingerprint(public_key: Path) -> str:
    """The sha256 (hex) of the public key's PEM: how model_signing names the signer in a signature.

    Raises:
        UserError: it is not a PEM of a public EC key.
    """
    return hashlib.sha256(_pem(_public(public_key))).hexdigest()


def sign(folder: Path, private_key_pem: Path, signature: Path | None = None) -> str:
    """Sign every file of `folder` into `signature` (default: model.sig in it) and return the signer's fingerprint.

    Raises:
        UserError: the key is none that can sign. ValueError: the folder holds a symbolic link.
    """
    signer = fingerprint_of(private_key_pem)
    from model_signing import hashing, signing

    files = hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)  # type: ignore[no-untyped-call]
    signed = signing.Config().use_elliptic_key_signer(private_key=private_key_pem)  # type: ignore[no-untyped-call]
    signed.set_hashing_config(files).sign(folder, signature or folder / SIGNATURE)
    return signer


def verify(folder: Path, public_key_pem: Path) -> str:
    """Check that `folder` holds exactly the files that the key signed, byte by byte; return the signer's fingerprint.

    Raises:
        Corrupt: it is not signed, by this key, or a file was changed, added or removed: the line says which.
        UserError: `public_key_pem` is not a public EC key.
    """
    signed = signed_files(folder, public_key_pem)
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise Corrupt(f"{folder.name}/{name}: a symbolic link, which no signature covers")
        if path.is_file() and name != SIGNATURE:
            found[name] = file_sha256(path)
    refuse_differences(folder.name, found, signed)
    return fingerprint(public_key_pem)


def refuse_differences(name: str, found: dict[str, str], signed: dict[str, str]) -> None:
    """Raise Corrupt naming the first file of the folder called `name` whose sha256 is not the signed one."""
    for file in sorted(found.keys() | signed.keys()):
        if file not in found:
            raise Corrupt(f"{name}/{file}: missing, but signed")
        if file not in signed:
            raise Corrupt(f"{name}/{file}: not among the files that {SIGNATURE} signs")
        if found[file] != signed[file]:
            raise Corrupt(f"{name}/{file}: not the bytes that {SIGNATURE} signs")


def signed_files(folder: Path, public_key_pem: Path) -> dict[str, str]:
    """The sha256 of every file as the key's owner signed it; the files themselves are not read.

    Raises:
        Corrupt: there is no signature, it cannot be read, or another key made it.
        UserError: `public_key_pem` is not a public EC key.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key, what = _public(public_key_pem), f"{folder.name}/{SIGNATURE}"
    path = folder / SIGNATURE
    if not path.is_file():
        raise Corrupt(f"{folder.name}: no {SIGNATURE}: it was registered unsigned: {MEND}")
    try:
        hint, payload, mark = _bundle(path)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Corrupt(f"{what}: not a signature of model_signing") from None
    expected = fingerprint(public_key_pem)
    if hint != expected:
        raise Corrupt(
            f"{what}: signed by the key {str(hint)[:12]}, not by {expected[:12]} ({public_key_pem.name}): "
            f"name the signer's public key in SEQLINE_SIGNER, or {MEND}"
        )
    sha2 = {256: hashes.SHA256(), 384: hashes.SHA384(), 512: hashes.SHA512()}[HASH_BITS[key.curve.name]]
    try:
        key.verify(mark, b"DSSEv1 %d %s %d %s" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload), ec.ECDSA(sha2))
    except InvalidSignature:
        raise Corrupt(f"{what}: the signature is not valid: it was changed, or another key made it") from None
    try:
        return _listing(json.loads(payload))
    except (ValueError, KeyError, TypeError):
        raise Corrupt(f"{what}: signs something else than a folder's files by sha256") from None


def _bundle(path: Path) -> tuple[object, bytes, bytes]:
    """The signer's fingerprint as claimed, the signed bytes, the signature. Raises ValueError, KeyError, TypeError."""
    content: Any = json.loads(path.read_bytes())
    envelope = content["dsseEnvelope"]
    (mark,) = envelope["signatures"]
    if (content["mediaType"], envelope["payloadType"]) != (BUNDLE, PAYLOAD):
        raise ValueError(content["mediaType"])
    payload, signature = (base64.b64decode(each, validate=True) for each in (envelope["payload"], mark["sig"]))
    return content["verificationMaterial"]["publicKey"]["hint"], payload, signature


def _listing(statement: Any) -> dict[str, str]:
    """File -> sha256 (hex) of a statement whose signature was found good. Raises ValueError, KeyError, TypeError."""
    predicate = statement["predicate"]
    how = predicate["serialization"]
    if (statement["_type"], statement["predicateType"], how["method"]) != (STATEMENT, PREDICATE, "files"):
        raise ValueError(how["method"])
    files = {each["name"]: each["digest"] for each in predicate["resources"] if each["algorithm"] == "sha256"}
    if len(files) != len(predicate["resources"]):
        raise ValueError("resources")
    return files


def _public(path: Path) -> "EllipticCurvePublicKey":
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError):
        raise UserError(f"{path.name}: not a PEM public key: {_how_to_make_one()}") from None
    return _known(key, path)


def _known(key: object, path: Path) -> "EllipticCurvePublicKey":
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in HASH_BITS:
        raise UserError(f"{path.name}: not an EC key on P-256, P-384 or P-521: {_how_to_make_one()}")
    return key


def _pem(key: "EllipticCurvePublicKey") -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _how_to_make_one() -> str:
    return "`openssl ecparam -name prime256v1 -genkey -noout -out signing.key; openssl ec -in signing.key -pubout`"
