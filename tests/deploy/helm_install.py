"""Installs the chart with Helm's own library into a fake Kubernetes API, and prints the created objects as JSON.

So the templates, the schema of the values and the notes are processed by Helm itself, not by an imitation.

Usage: helm_install.py CHART [VALUES.json] [RELEASE] [NAMESPACE]
With `--lint` before CHART it runs Helm's linter instead. If Helm refuses, the exit code is 1, with Helm's message.
"""

import asyncio
import base64
import gzip
import json
import re
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import helm_sdkpy

# The resources of the API by group version: kind, plural, and whether they are namespaced.
KINDS = {
    "v1": [
        ("Namespace", "namespaces", False),
        ("Secret", "secrets", True),
        ("ConfigMap", "configmaps", True),
        ("Service", "services", True),
        ("ServiceAccount", "serviceaccounts", True),
        ("Pod", "pods", True),
    ],
    "apps/v1": [("Deployment", "deployments", True)],
    "policy/v1": [("PodDisruptionBudget", "poddisruptionbudgets", True)],
    "networking.k8s.io/v1": [("NetworkPolicy", "networkpolicies", True)],
    "monitoring.coreos.com/v1": [
        ("ServiceMonitor", "servicemonitors", True),
        ("PodMonitor", "podmonitors", True),
        ("Probe", "probes", True),
        ("PrometheusRule", "prometheusrules", True),
    ],
}
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


class Api(BaseHTTPRequestHandler):
    """The parts of a Kubernetes API that an installation uses."""

    protocol_version = "HTTP/1.1"
    stored = {}
    created = []
    release = b""

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/version":
            return self.answer(200, {"major": "1", "minor": "34", "gitVersion": "v1.34.0"})
        if path == "/api":
            return self.answer(200, {"kind": "APIVersions", "versions": ["v1"]})
        if path == "/apis":
            groups = []
            for full in KINDS:
                if "/" in full:
                    group, version = full.split("/")
                    one = {"groupVersion": full, "version": version}
                    groups.append({"name": group, "versions": [one], "preferredVersion": one})
            return self.answer(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        for full, kinds in KINDS.items():
            if path == ("/api/v1" if full == "v1" else f"/apis/{full}"):
                resources = [
                    {"name": p, "singularName": k.lower(), "namespaced": n, "kind": k, "verbs": VERBS}
                    for k, p, n in kinds
                ]
                return self.answer(
                    200,
                    {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": full, "resources": resources},
                )
        if path in self.stored:
            return self.answer(200, self.stored[path])
        if path.endswith("/secrets"):
            return self.answer(200, {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": []})
        return self.not_found()

    def do_POST(self):
        self.take(201)

    def do_PUT(self):
        self.take(200)

    def take(self, code):
        """Reads an object as JSON. Helm's own record of the release is protobuf, and is kept unchanged."""
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if data.startswith(b"k8s\0"):
            Api.release = re.search(rb"H4sI[A-Za-z0-9+/=]+", data)[0]
            return self.answer(code, data, "application/vnd.kubernetes.protobuf")
        body = json.loads(data)
        path = self.path.split("?")[0]
        if code == 201:
            path = f"{path}/{body['metadata']['name']}"
            self.created.append(body)
        self.stored[path] = body
        self.answer(code, body)

    def do_DELETE(self):
        self.answer(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def not_found(self):
        self.answer(
            404,
            {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404},
        )

    def answer(self, code, body, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def main():
    arguments = sys.argv[1:]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kubeconfig = f"""
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{server.server_port}"}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{}}}}]
current-context: c
"""
    lint = arguments[0] == "--lint"
    chart, values, release, namespace = (arguments[lint:] + [None] * 4)[:4]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(kubeconfig)
        file.flush()
        configuration = helm_sdkpy.Configuration(namespace=namespace or "monitoring", kubeconfig=file.name)
        try:
            if lint:
                print(json.dumps(asyncio.run(helm_sdkpy.Lint(configuration).run(chart))))
                return
            install = helm_sdkpy.Install(configuration)
            values = json.load(open(values)) if values else {}
            asyncio.run(install.run(release or "demo", chart, values=values, wait=False))
        except helm_sdkpy.HelmError as error:
            sys.exit(str(error))
    record = json.loads(gzip.decompress(base64.b64decode(Api.release)))
    notes = record["info"].get("notes", "")
    print(json.dumps({"objects": Api.created, "notes": notes, "release_bytes": len(Api.release)}))


main()
