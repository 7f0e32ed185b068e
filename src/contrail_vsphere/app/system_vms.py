"""The client of vLCM's System VMs as the settings ask for it: with an account, since extensions cannot log in there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from contrail_vsphere.app.connect import endpoint
from contrail_vsphere.config.settings import VCenterSettings
from contrail_vsphere.contrailvm.desired import key_of_agency
from contrail_vsphere.engine.breaker import CircuitBreaker
from contrail_vsphere.model.errors import NotReadyYet, SettingsError
from contrail_vsphere.model.ids import ClusterId
from contrail_vsphere.model.inventory import Cluster
from contrail_vsphere.pki.secrets import Secret, read_secret
from contrail_vsphere.vsphere.endpoint import PasswordLogin
from contrail_vsphere.vsphere.system_vm.client import SystemVmClient
from contrail_vsphere.vsphere.system_vm.rest import RestSession
from contrail_vsphere.vsphere.vcenter import VCenter

FIRST_RELEASE = 9
"""Of vCenter Server with System VMs."""


def system_vms(
    table: VCenterSettings, vcenter: VCenter, *, solution_id: str, now: Callable[[], datetime] | None = None
) -> SystemVmClient | None:
    """The client, not yet reading; None where the settings have no account for it."""
    login = rest_account(table)
    if login is None:
        return None
    return system_vm_client(RestSession(endpoint(table), login, breaker=CircuitBreaker(now=now)), vcenter, solution_id)


def system_vm_client(rest: RestSession, vcenter: VCenter, solution_id: str) -> SystemVmClient:
    """The client over a session, for the clusters of a vCenter."""

    def clusters() -> Mapping[ClusterId, Cluster]:
        # Of clusters that are not in view yet nobody can say that vLCM keeps nothing there.
        if not vcenter.inventory.healthy:
            raise NotReadyYet("the clusters of vCenter are not in view")
        return vcenter.inventory.clusters

    return SystemVmClient(
        rest,
        solution_id=solution_id,
        clusters=clusters,
        mine=lambda name: key_of_agency(solution_id, name) is not None,
        supported=lambda: has_system_vms(vcenter.about.apiVersion),
    )


def has_system_vms(api_version: str) -> bool:
    """By ``about.apiVersion``; one that cannot be read is taken for a new one, which then says so itself."""
    major = api_version.partition(".")[0]
    return not major.isdigit() or int(major) >= FIRST_RELEASE


def rest_account(table: VCenterSettings) -> PasswordLogin | None:
    """The account for vCenter's REST API; its password comes from a private file or from the environment."""
    if not table.rest_username:
        return None
    password = Secret(table.rest_password.get_secret_value())
    if table.rest_password_file is not None:
        password = read_secret(table.rest_password_file)
    if not password:
        raise SettingsError(
            f"no password for {table.rest_username} at vCenter {table.host}",
            hint="set rest_password_file, or CONTRAIL_VSPHERE__VCENTER__NAME__REST_PASSWORD",
        )
    return PasswordLogin(username=table.rest_username, password=password)
