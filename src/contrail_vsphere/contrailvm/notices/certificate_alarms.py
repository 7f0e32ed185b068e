"""Certificates that expire soon, as alarms: told once, through any number of restarts, and told to be over."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from contrail_vsphere.contrailvm.desired import Key
from contrail_vsphere.contrailvm.notebook import Notebook
from contrail_vsphere.contrailvm.records import ToldAlarm
from contrail_vsphere.model.ids import ClusterId

CERTIFICATES = Key("manager", ClusterId("certificates"))
"""Under which they are remembered: they belong to no cluster."""


def note_certificates(
    advice: Mapping[str, str], *, notebook: Notebook, tell: Callable[[Key, ToldAlarm, bool], None]
) -> None:
    """``advice`` by the certificate's name; ``tell`` hears of what begins (True) and of what is over (False)."""
    before = {each.cause: each for each in notebook.alarms(CERTIFICATES)}
    found = {
        name: ToldAlarm(host=None, cause=name, reason=f"certificate {name} {text}") for name, text in advice.items()
    }
    notebook.put_alarms(CERTIFICATES, tuple(before.get(name, found[name]) for name in sorted(found)))
    for name in sorted(found.keys() - before.keys()):
        tell(CERTIFICATES, found[name], True)
    for name in sorted(before.keys() - found.keys()):
        tell(CERTIFICATES, before[name], False)
