"""Makes the type table of ``wire/contrail`` from the metadata of the installed ``contrail-api-client``.

The product does not import that client; this module says where ``schema.json`` comes from and lets a test notice drift.
Run it with ``--write`` to renew the file.
"""

import json
import sys
from importlib import resources

COMMON = {"id_perms": "IdPermsType", "perms2": "PermType2", "annotations": "KeyValuePairs", "display_name": "string"}
"""Properties that every type has; the table leaves them out."""


def table():
    """The table as ``schema.json`` holds it."""
    from vnc_api.gen import resource_common, resource_xsd

    classes = [
        value
        for value in vars(resource_common).values()
        if isinstance(value, type) and getattr(value, "resource_type", None) not in (None, "config-root")
    ]
    derived = {
        (child, owner.resource_type)
        for owner in classes
        for child, is_derived in owner.children_field_types.values()
        if is_derived
    }
    structures = {}
    wanted = {"IdPermsType", "PermType2", "KeyValuePairs"}
    types = {}
    for cls in sorted(classes, key=lambda cls: cls.resource_type):
        types[cls.resource_type] = _resource(cls, derived)
        wanted |= {meta["xsd_type"] for meta in cls.prop_field_types.values() if meta["is_complex"]}
        wanted |= {attr for _to, attr, *_ in cls.ref_field_types.values() if attr != "None"}
    while wanted:
        name = wanted.pop()
        if name in structures:
            continue
        cls = getattr(resource_xsd, name)
        structures[name] = {field: _field(cls.attr_field_type_vals[field]) for field in cls.attr_fields}
        wanted |= {meta["attr_type"] for meta in cls.attr_field_type_vals.values() if meta["is_complex"]}
    return {"types": types, "structures": dict(sorted(structures.items()))}


def _resource(cls, derived):
    name = cls.resource_type
    made = {"parents": [("^" if (name, parent) in derived else "") + parent for parent in cls.parent_types]}
    made["properties"] = {
        field: _property(meta) for field, meta in sorted(cls.prop_field_types.items()) if field not in COMMON
    }
    made["references"] = {
        ("^" if spec[2] else "") + spec[0]: "" if spec[1] == "None" else spec[1]
        for _field, spec in sorted(cls.ref_field_types.items())
    }
    if cls.prop_list_fields:
        made["lists"] = sorted(cls.prop_list_fields)
    maps = {field: key for field, key in sorted(cls.prop_map_field_key_names.items()) if field != "annotations"}
    if maps:
        made["maps"] = maps
    return made


def _restrict(meta):
    """`` a|b`` for an enumeration, ``, 0..7`` for a range."""
    limits = meta["restrictions"]
    if not limits:
        return ""
    if meta.get("restriction_type") == "range" or not isinstance(limits[0], str):
        return f", {limits[0]}..{limits[1]}"
    return ", " + "|".join(limits)


def _property(meta):
    text = meta["xsd_type"] + _restrict(meta)
    marks = "" if meta["operations"] == "CRUD" else f", @{meta['operations']}"
    need = {"optional": "", "required": ", !", "system-only": ", #", "admin-only": ", #"}[meta["required"]]
    return text + marks + need


def _field(meta):
    need = {None: "", "optional": "", "exclusive": "", "true": ", !", "required": ", !", "system-only": ", #"}
    return meta["attr_type"] + ("[]" if meta["is_array"] else "") + _restrict(meta) + need[meta["required"]]


def text():
    """The file: one line per type."""
    made = table()
    parts = []
    for group, members in made.items():
        lines = ",\n".join(
            f"{json.dumps(name)}:{json.dumps(spec, separators=(',', ':'))}" for name, spec in members.items()
        )
        parts.append(f'"{group}":{{\n{lines}\n}}')
    return "{" + ",\n".join(parts) + "}\n"


if __name__ == "__main__":
    if "--write" in sys.argv:
        (resources.files("contrail_vsphere.wire.contrail") / "schema.json").write_text(text())
    else:
        sys.stdout.write(text())
