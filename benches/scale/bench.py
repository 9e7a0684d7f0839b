#!/usr/bin/env python3
"""A thousand targets, measured: make bench-scale.

Starts several PostgreSQL clusters with many databases each, a listener that accepts and says nothing, and ports at
which nobody listens. Then it runs the daemon with 900 healthy targets and 100 dead or silent ones, polls the servers
for the exporter's connections all the time, scrapes, and reloads ten times with targets added, removed and renamed.
Prints a table. Everything is local and is removed at the end.

    bench.py --program target/release/db_pool_exporter --programs /usr/lib/postgresql/15/bin
"""

import argparse
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

PASSWORD = "correct horse"


class Cluster:
    """A PostgreSQL cluster of a user that is not root."""

    def __init__(self, folder, programs, port, databases):
        self.folder, self.programs, self.port = folder, programs, port
        self.databases = [f"db{n:03}" for n in range(databases)]
        self.run("initdb", "-D", f"{folder}/data", "-U", "postgres", "-A", "scram-sha-256", "--no-sync",
                 "--pwfile", f"{folder}/../password")
        with open(f"{folder}/data/postgresql.auto.conf", "a") as conf:
            conf.write(f"port={port}\nunix_socket_directories='{folder}'\nfsync=off\nmax_connections=60\n"
                       "shared_buffers=32MB\nlisten_addresses='127.0.0.1'\nautovacuum=off\n")
        with open(f"{folder}/data/pg_hba.conf", "w") as hba:
            hba.write("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        self.run("pg_ctl", "-D", f"{folder}/data", "-l", f"{folder}/log", "-w", "start")
        self.psql(f"CREATE ROLE monitor LOGIN PASSWORD '{PASSWORD}' IN ROLE pg_monitor")
        self.psql(*[f"CREATE DATABASE {name}" for name in self.databases])

    def run(self, program, *arguments):
        subprocess.run(as_server([f"{self.programs}/{program}", *arguments]), check=True,
                       stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    def psql_command(self):
        return as_server([f"{self.programs}/psql", "-XqAt", "-h", self.folder, "-p", str(self.port), "-U",
                          "postgres", "postgres"])

    def psql(self, *statements):
        arguments = [part for statement in statements for part in ("-c", statement)]
        done = subprocess.run(self.psql_command() + arguments, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def stop(self):
        self.run("pg_ctl", "-D", f"{self.folder}/data", "-m", "immediate", "stop")


def as_server(command):
    """PostgreSQL refuses to run as root."""
    return ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", *command] \
        if os.getuid() == 0 else command


class Poller(threading.Thread):
    """Asks a server over one session, again and again, how many connections the exporter has."""

    QUERY = ("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' "
             "AND pid <> pg_backend_pid();\n")

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.most, self.looks, self.is_over = 0, 0, False
        self.psql = subprocess.Popen(cluster.psql_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     text=True, bufsize=1)
        self.start()

    def run(self):
        while not self.is_over:
            self.psql.stdin.write(self.QUERY)
            self.psql.stdin.flush()
            line = self.psql.stdout.readline()
            if not line:
                return
            self.most, self.looks = max(self.most, int(line)), self.looks + 1
            time.sleep(0.02)

    def stop(self):
        self.is_over = True
        self.join(5)
        self.psql.stdin.close()
        self.psql.wait(5)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def silent_listener():
    """The kernel completes the handshakes, and nobody answers."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    return listener


def target(name, port, database):
    url = f"postgresql://monitor@127.0.0.1:{port}/{database}?sslmode=disable"
    return f"  {name}: {{ url: '{url}', password: '{PASSWORD}' }}\n"


class Exporter:
    def __init__(self, program, config, interval):
        self.config, self.interval = config, interval
        self.log = open(f"{config}.log", "w")
        self.port = free_port()
        self.process = subprocess.Popen(
            [program, "--config.file", config, "--web.listen-address", f"127.0.0.1:{self.port}"], stderr=self.log)
        for _ in range(200):
            try:
                self.get("/-/healthy")
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit("the exporter does not listen")

    def get(self, path, timeout=60):
        start = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body, time.monotonic() - start

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self, key="VmRSS"):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(rf"{key}:\s+(\d+)", status.read())[1]) / 1024

    def reload(self, targets):
        with open(f"{self.config}.new", "w") as file:
            file.write(f"defaults: {{ interval: {self.interval}s }}\ntargets:\n{''.join(targets)}")
        os.chmod(f"{self.config}.new", 0o600)
        os.rename(f"{self.config}.new", self.config)
        before = self.value("db_pool_exporter_config_last_reload_success_timestamp_seconds")
        start = time.monotonic()
        self.process.send_signal(signal.SIGHUP)
        while self.value("db_pool_exporter_config_last_reload_success_timestamp_seconds") == before:
            if time.monotonic() - start > 60:
                raise SystemExit("the reload does not end")
            time.sleep(0.005)
        return time.monotonic() - start

    def values(self, name):
        body = self.get(f"/metrics?name[]={name}")[1].decode()
        return [line for line in body.splitlines() if not line.startswith("#")]

    def value(self, name):
        return float(self.values(name)[0].rsplit(" ", 1)[1])

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def quantile(times, part):
    return sorted(times)[min(len(times) - 1, int(part * len(times)))]


def lateness(exporter, part):
    """The upper end of the bucket of a quantile of the lateness; the share of probes above a second."""
    lines = exporter.values("db_pool_probe_lateness_seconds")
    buckets = [(float(re.search(r'le="([^"]+)"', line)[1].replace("+Inf", "inf")), float(line.rsplit(" ", 1)[1]))
               for line in lines if "_bucket" in line]
    if not buckets:
        return "no metric"
    total = buckets[-1][1]
    for end, count in buckets:
        if count >= part * total:
            return f"<= {end * 1000:g} ms of {total:.0f} probes"
    return "?"


def page(exporter, rows):
    status, body, _ = exporter.get("/metrics")
    assert status == 200
    series = sum(1 for line in body.splitlines() if not line.startswith(b"#"))
    up = body.count(b"db_pool_up{"), len(re.findall(rb"^db_pool_up\{[^}]*\} 1", body, re.M))
    servers = len(set(re.findall(rb'^db_pool_server_max_connections\{target="([^"]*)"', body, re.M)))
    rows.append(("targets, of these up", f"{up[0]}, {up[1]}"))
    rows.append(("page, series", f"{len(body) / 1e6:.1f} MB, {series}"))
    rows.append(("targets with series of their server", str(servers)))


def scrapes(exporter, seconds, every, path):
    """Scrapes for a while, and the health endpoint between."""
    pages, health, end = [], [], time.monotonic() + seconds
    while time.monotonic() < end:
        status, _, took = exporter.get(path)
        assert status == 200
        pages.append(took)
        due = time.monotonic() + every
        while time.monotonic() < due:
            health.append(exporter.get("/-/healthy")[2])
            time.sleep(0.05)
    return pages, health


def measure(arguments, exporter, clusters, targets, pollers):
    rows = []
    time.sleep(arguments.warm)
    page(exporter, rows)
    statements = [int(c.psql("SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database")) for c in clusters]
    cpu, start = exporter.cpu(), time.monotonic()
    pages, health = scrapes(exporter, arguments.seconds, arguments.interval, "/metrics")
    passed = time.monotonic() - start
    rows.append(("CPU in the mean, scrapes included", f"{(exporter.cpu() - cpu) / passed:.2f} cores"))
    after = [int(c.psql("SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database")) for c in clusters]
    rate = [(b - a) / passed * 60 for a, b in zip(statements, after)]
    rows.append(("transactions a minute on a server", f"{max(rate):.0f}"))
    rows.append(("lateness p99", lateness(exporter, 0.99)))
    pages += [exporter.get("/metrics")[2] for _ in range(30)]
    rows.append(("/metrics of all p50, p99", f"{quantile(pages, 0.5) * 1e3:.0f} ms, {quantile(pages, 0.99) * 1e3:.0f} ms"))
    rows.append(("/-/healthy p50, p99", f"{quantile(health, 0.5) * 1e3:.1f} ms, {quantile(health, 0.99) * 1e3:.1f} ms"))
    rows.append(("memory, at most", f"{exporter.resident():.0f} MB, {exporter.resident('VmHWM'):.0f} MB"))
    rows.append(("most connections on each server", ", ".join(str(p.most) for p in pollers)))
    reloads(exporter, targets, rows)
    rows.append(("most connections, also over reloads", ", ".join(str(p.most) for p in pollers)))
    rows.append(("looks at each server", str(min(p.looks for p in pollers))))
    return rows


def reloads(exporter, targets, rows):
    names = list(targets)
    one = dict(targets)
    one[names[5]] = one[names[5]].replace("sslmode=disable", "sslmode=disable&connect_timeout=9")
    kept = 'db_pool_checkouts_total{target="%s",result="ok"}' % names[7]
    count = lambda: next(float(line.rsplit(" ", 1)[1]) for line in exporter.values("db_pool_checkouts_total") if line.startswith(kept))
    before = count()
    rows.append(("reload with one changed", f"{exporter.reload(list(one.values())) * 1e3:.0f} ms"))
    rows.append(("counters of another target go on", str(count() >= before)))
    for turn in range(10):
        changed = [line.replace(f"  {name}:", f"  {name}-{turn}:") if n % 3 == turn % 3 else line
                   for n, (name, line) in enumerate(targets.items()) if n % 10 != turn]
        exporter.reload(changed)
        time.sleep(exporter.interval / 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True)
    parser.add_argument("--programs", required=True, help="the folder of initdb, pg_ctl and psql")
    parser.add_argument("--clusters", type=int, default=3)
    parser.add_argument("--healthy", type=int, default=900)
    parser.add_argument("--dead", type=int, default=100)
    parser.add_argument("--interval", type=int, default=15)
    parser.add_argument("--warm", type=float, default=45)
    parser.add_argument("--seconds", type=float, default=90)
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="bench-scale-")
    os.chmod(folder, 0o777)
    with open(f"{folder}/password", "w") as file:
        file.write("postgres")
    clusters, pollers, exporter = [], [], None
    silent = [silent_listener() for _ in range(arguments.dead // 2)]
    try:
        for n in range(arguments.clusters):
            os.mkdir(f"{folder}/{n}")
            os.chmod(f"{folder}/{n}", 0o777)
            clusters.append(Cluster(f"{folder}/{n}", arguments.programs, free_port(),
                                    arguments.healthy // arguments.clusters))
        targets = {}
        for n, cluster in enumerate(clusters):
            for database in cluster.databases:
                targets[f"s{n}-{database}"] = target(f"s{n}-{database}", cluster.port, database)
        for n in range(arguments.dead):
            port = silent[n].getsockname()[1] if n < len(silent) else free_port()
            targets[f"dead{n:03}"] = target(f"dead{n:03}", port, f"db{n}")
        config = f"{folder}/exporter.yml"
        with open(config, "w") as file:
            file.write(f"defaults: {{ interval: {arguments.interval}s }}\ntargets:\n{''.join(targets.values())}")
        os.chmod(config, 0o600)
        pollers = [Poller(cluster) for cluster in clusters]
        exporter = Exporter(arguments.program, config, arguments.interval)
        for name, value in measure(arguments, exporter, clusters, targets, pollers):
            print(f"| {name} | {value} |")
    finally:
        if exporter:
            exporter.stop()
        for poller in pollers:
            poller.stop()
        for cluster in clusters:
            cluster.stop()
        for listener in silent:
            listener.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
