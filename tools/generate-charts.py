#!/usr/bin/env python3
"""Writes what the charts have from crds/: the definition itself (redis-operator-crds) and the schema of a cluster's
values (redis-cluster). With --check it writes nothing and fails when a file is stale.
"""
import glob
import json
import os
import sys

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOURCE = os.path.join(ROOT, "crds", "slotkeeper.dev_redisclusters.yaml")
TEMPLATES = os.path.join(ROOT, "charts", "redis-operator-crds", "templates")
SCHEMA = os.path.join(ROOT, "charts", "redis-cluster", "values.schema.json")
NAME_LINE = "\n  name: redisclusters.slotkeeper.dev\n"
KEEP = "\n  annotations:\n    helm.sh/resource-policy: keep"
# kubectl apply keeps the whole object in an annotation, of 256 KiB at most.
CRD_LIMIT = 200 * 1024


def definition(text):
    """The CRD as a template: kept when the release is uninstalled, and nothing in it for helm to read as its own."""
    if text.count(NAME_LINE) != 1:
        sys.exit(f"{SOURCE}: expected one line 'name: redisclusters.slotkeeper.dev' in metadata")
    text = text.replace("{{", '{{ "{{" }}')
    return text.replace(NAME_LINE, KEEP + NAME_LINE)


def as_json_schema(schema):
    """A structural schema of a CRD as JSON Schema. CEL rules are the API server's; helm checks the rest before."""
    result = {key: value for key, value in schema.items() if key in (
        "description", "type", "enum", "pattern", "minLength", "maxLength", "minItems", "maxItems", "maxProperties",
        "minimum", "maximum", "required")}
    for key in ("minimum", "maximum"):
        if key in result:
            result[key] = int(result[key])
    if schema.get("x-kubernetes-int-or-string"):
        result["type"] = ["integer", "string"]
    if schema.get("nullable") and "type" in result:
        result["type"] = [result["type"], "null"]
    if "items" in schema:
        result["items"] = as_json_schema(schema["items"])
    if "properties" in schema:
        result["properties"] = {name: as_json_schema(inner) for name, inner in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            result["additionalProperties"] = False
    if isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = as_json_schema(schema["additionalProperties"])
    return result


def values_schema(text):
    versions = yaml.safe_load(text)["spec"]["versions"]
    spec = versions[-1]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    strings = {"type": "object", "additionalProperties": {"type": "string"}}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of redis-cluster",
        "description": "Generated from crds/ by tools/generate-charts.py.",
        "type": "object",
        "additionalProperties": False,
        "required": ["spec"],
        "properties": {
            "name": {"type": "string", "maxLength": 40, "pattern": "^([a-z]([-a-z0-9]*[a-z0-9])?)?$"},
            "labels": strings,
            "annotations": strings,
            "spec": as_json_schema(spec),
            "global": {"type": "object", "description": "Helm's own, for charts that include this one."},
        },
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    known = glob.glob(os.path.join(ROOT, "crds", "*.yaml"))
    if known != [SOURCE]:
        sys.exit(f"crds/ has {known}; this script knows {SOURCE} only")
    with open(SOURCE, encoding="utf-8") as file:
        text = file.read()
    if len(text.encode()) > CRD_LIMIT:
        sys.exit(f"{SOURCE} has {len(text.encode())} bytes; {CRD_LIMIT} is what plain `kubectl apply` can take")
    stale = []
    for path, wanted in ((os.path.join(TEMPLATES, "redisclusters.yaml"), definition(text)), (SCHEMA, values_schema(text))):
        try:
            with open(path, encoding="utf-8") as file:
                found = file.read()
        except FileNotFoundError:
            found = None
        if found == wanted:
            continue
        stale.append(os.path.relpath(path, ROOT))
        if not check:
            with open(path, "w", encoding="utf-8") as file:
                file.write(wanted)
    if check and stale:
        sys.exit(f"stale: {', '.join(stale)}; run tools/generate-charts.py")
    print(f"charts follow crds/ ({len(text.encode())} bytes)" if not stale else f"wrote {', '.join(stale)}")


main()
