"""Who made a version: MLflow's server stamps it (authorization.py), the controller reads it.

A stamp is a tag that anybody may write, so it carries an HMAC over model, version and name: without the key none can be made,
and one that was copied from another version is none.
"""

import hashlib
import hmac

PERSON = "seqline.person"


def stamp(key: bytes, model: str, version: str, person: str) -> str:
    """The tag's value that says that `person` made `version` of `model`."""
    return f"{_mac(key, model, version, person)} {person}"


def person(key: bytes, model: str, version: str, tag: str | None) -> str | None:
    """Whom the tag names, None if it is missing, forged or of another version."""
    mac, _, name = (tag or "").partition(" ")
    return name if name and hmac.compare_digest(mac.encode(), _mac(key, model, version, name).encode()) else None


def _mac(key: bytes, *parts: str) -> str:
    return hmac.new(key, "\0".join(parts).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
