"""Our extension as vCenter knows it: what ``register`` writes there, and the manager with every heartbeat after."""

from __future__ import annotations

import contrail_vsphere
from contrail_vsphere.config.settings import Settings
from contrail_vsphere.contrailvm.registration import ExtensionFacts
from contrail_vsphere.pki.identity import Identity


def extension_facts(settings: Settings, identity: Identity) -> ExtensionFacts:
    """What is registered with vCenter; the same at ``register`` and in every heartbeat."""
    bootstrap_url = settings.bootstrap.advertise or f"https://{settings.bootstrap.listen}"
    return ExtensionFacts(
        key=settings.manager.extension_key,
        company=settings.manager.company,
        certificate_pem=identity.cert_pem,
        health_url=f"{bootstrap_url}/health/health.xml",
        manager_url=bootstrap_url,
        version=contrail_vsphere.__version__,
        admin_email=settings.manager.admin_email,
    )
