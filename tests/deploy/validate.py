"""Validates a JSON list of objects on standard input with Kubernetes' own schemas. An unknown field is a fault.

The Prometheus operator's objects are left to validate.mjs. Prints each fault and the number of validated objects.

Usage: validate.py VERSION ...
"""

import json
import sys

import kubernetes_validate

objects = [o for o in json.load(sys.stdin) if not o["apiVersion"].startswith("monitoring.coreos.com/")]
faults = 0
for version in sys.argv[1:]:
    for each in objects:
        try:
            kubernetes_validate.validate(each, version, strict=True)
        except Exception as error:
            faults += 1
            reason = str(error).splitlines()[0]
            print(f"{version}: {each['kind']}/{each['metadata']['name']}: {reason}")
print(f"{len(objects)} validated")
sys.exit(faults != 0)
