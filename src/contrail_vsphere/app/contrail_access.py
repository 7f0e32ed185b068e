"""From settings to what the clients of Contrail take: who logs in, and where news comes from."""

from __future__ import annotations

import ssl
from pathlib import Path
from random import Random

from contrail_vsphere.config.settings import ContrailSettings
from contrail_vsphere.contrail.keystone import Auth, KeystoneUser, KeystoneV3, NoAuth
from contrail_vsphere.contrail.notifications import AmqpNotifications, Notifications
from contrail_vsphere.model.errors import SettingsError
from contrail_vsphere.pki.identity import client_context
from contrail_vsphere.pki.secrets import Secret, read_secret


def words(text: str) -> tuple[str, ...]:
    """The parts between commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def contrail_auth(contrail: ContrailSettings, tls: ssl.SSLContext | None) -> Auth:
    """How we log in to Contrail: by Keystone where there is one."""
    if not contrail.keystone_url:
        return NoAuth()
    password = _password(contrail.password_file, contrail.password.get_secret_value(), what="contrail")
    user = KeystoneUser(
        contrail.keystone_url,
        contrail.username,
        password,
        project=contrail.project,
        user_domain=contrail.user_domain,
        project_domain=contrail.project_domain,
    )
    return KeystoneV3(user, tls=tls)


def contrail_notifications(contrail: ContrailSettings, random: Random) -> Notifications | None:
    """How we hear of changes in Contrail; None: by polling alone."""
    brokers = words(contrail.brokers)
    if not brokers:
        return None
    tls = client_context(ca_file=contrail.ca_file) if any(url.startswith("amqps:") for url in brokers) else None
    password = _password(
        contrail.broker_password_file, contrail.broker_password.get_secret_value(), what="contrail.broker"
    )
    return AmqpNotifications(*brokers, username=contrail.broker_username, password=password, tls=tls, random=random)


def _password(file: Path | None, value: str, *, what: str) -> Secret:
    secret = read_secret(file) if file is not None else Secret(value)
    if not secret:
        raise SettingsError(f"{what} has no password", hint="set its password_file, or the password in the environment")
    return secret
