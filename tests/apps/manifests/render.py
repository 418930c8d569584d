"""Prints what kustomize makes of a folder, as a list in JSON, after a look at the schemas of Kubernetes.

render.py KUBECTL FOLDER VERSION... : exit code 1 and one line for each object that does not fit a schema.
Objects of groups that Kubernetes does not have itself have no schema; they are named by "unknown".
"""

import json
import subprocess
import sys

import kubernetes_validate
import yaml

kubectl, folder, *versions = sys.argv[1:]
rendered = subprocess.run([kubectl, "kustomize", folder], check=True, stdout=subprocess.PIPE, text=True).stdout
objects = [found for found in yaml.safe_load_all(rendered) if found is not None]
wrong, unknown = [], set()
for one in objects:
    name = f"{one['kind']}/{one['metadata']['name']}"
    for version in versions:
        try:
            kubernetes_validate.validate(one, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            unknown.add(one["kind"])
        except kubernetes_validate.ValidationError as error:
            wrong.append(f"{name} in Kubernetes {version}: {error.message} at {list(error.path)}")
print("\n".join(wrong), file=sys.stderr, end="")
if wrong:
    sys.exit(1)
json.dump({"objects": objects, "unknown": sorted(unknown)}, sys.stdout)
