"""Secrets of the whole suite: strings so odd that finding one anywhere means that it leaked.

They are handed to the code under test wherever a real one would go. A search over all that a run writes
(output, logs, tracebacks, objects) then needs to know nothing but this file.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass


@dataclass(frozen=True, slots=True)
class Canaries:
    """One value for each kind of secret; characters that change when quoted are in on purpose."""

    client_id: str = "canary-client-id-Qx7Lr2Vw"
    client_secret: str = "canary-client-secret/Zt9+Kp4=Hm"
    aws_access_key_id: str = "CANARYAKIDJ5N8B3YF6D"
    aws_secret_access_key: str = "canary-aws-secret/Wd3+Sg8=Rc"
    reader_access_key_id: str = "CANARYAKIDREADERONLY"
    reader_secret_access_key: str = "canary-reader-secret/Lv5+Xe9=Bn"
    rotated_access_key_id: str = "CANARYAKIDROTATEDKEY"
    rotated_secret_access_key: str = "canary-rotated-secret/Uf3+Qy6=Ds"
    proxy_user: str = "canary-proxy-user-Fb6Tn"
    proxy_password: str = "canary-proxy-password@Yk2:Mj7"

    def secret_values(self) -> tuple[str, ...]:
        """All that must never be written anywhere."""
        return astuple(self)


CANARIES = Canaries()
