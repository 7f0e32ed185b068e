"""How a module ends: what it was given is not said again, since it may be whole files, and goes through many hands."""

from __future__ import annotations

from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule


def done(module: AnsibleModule, **fields: Any) -> NoReturn:
    """All is well."""
    module.exit_json(invocation={}, **fields)
    raise SystemExit


def failed(module: AnsibleModule, **fields: Any) -> NoReturn:
    """It is not; ``msg`` says what is the matter."""
    module.fail_json(invocation={}, **fields)
    raise SystemExit
