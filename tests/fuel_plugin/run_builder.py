"""fuel-plugin-builder as it is, on a Python newer than it knows: what Python 2 had and it uses is put back first."""

import builtins
import importlib
import pkgutil
import sys

import yaml

builtins.unicode = lambda text, encoding=None: text if isinstance(text, str) else str(text, encoding or "utf-8")
builtins.basestring = str
_load = yaml.load
yaml.load = lambda stream, Loader=None: _load(stream, Loader or yaml.SafeLoader)

import fuel_plugin_builder  # noqa: E402


def _listed(test, items):
    return list(builtins.filter(test, items))


for module in pkgutil.walk_packages(fuel_plugin_builder.__path__, "fuel_plugin_builder."):
    if ".tests" not in module.name:
        importlib.import_module(module.name).filter = _listed

from fuel_plugin_builder.cli import main  # noqa: E402

sys.exit(main())
