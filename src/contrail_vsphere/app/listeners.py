"""Where the ContrailVM Manager listens, and which certificate it presents there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from contrail_vsphere.app.data_dir import DataDirectory
from contrail_vsphere.config.settings import Address, PublishSettings
from contrail_vsphere.model.errors import SettingsError
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.identity import Identity


def publish_identity(
    publish: PublishSettings, data: DataDirectory, authority: CertificateAuthority
) -> tuple[Identity | None, tuple[Callable[[], object], ...]]:
    """The operator's own certificate, or ours with the way to renew it; None for plain HTTP."""
    if publish.plain_http:
        return None, ()
    if publish.cert_file is not None and publish.key_file is not None:
        return Identity(publish.key_file, publish.cert_file), ()
    hosts = names(publish.listen, publish.advertise)
    return data.server_identity("publish", hosts, authority), (
        lambda: data.server_identity("publish", hosts, authority),
    )


def names(listen: Address, advertised: str) -> list[str]:
    """The name a listener's certificate bears: the advertised one alone, which several managers may share."""
    named = urlsplit(advertised).hostname or listen.host
    return [named] if named not in ("0.0.0.0", "::") else []  # noqa: S104


async def listen_on(start: Callable[[], Awaitable[object]], key: str, listen: Address) -> None:
    """SettingsError that names the setting when the address cannot be had."""
    try:
        await start()
    except OSError as error:
        raise SettingsError(
            f"{key} {listen}: {error.strerror or error}", hint="choose an address and port that are free here"
        ) from error
