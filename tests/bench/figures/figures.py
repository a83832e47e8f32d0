#!/usr/bin/env python3
"""The figures of docs/testing.md: each is one line of JSON, with the machine it was measured on.

usage: figures.py BIN_FOLDER tables|functions|failover|idle [--seconds N] [--runs N] [--peers FOLDER]

BIN_FOLDER holds skein, skein-node and skein-controller of a release build. --peers: also measure dynalite
(npm, installed into FOLDER, which must be outside of the tree) and etcd (if its program is there), in the
same run, turn by turn. Client and servers share the machine: compare ratios within one run."""
import argparse
import base64
import contextlib
import io
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

import lab

HANDLERS = {
    "trivial": "def handler(event, context):\n    return event\n",
    "orders": """import json
import boto3

dynamodb = boto3.resource("dynamodb", region_name="us-east-1")


def handler(event, context):
    order = json.loads(event["body"])
    return {"statusCode": 200, "body": json.dumps({"message": "Order placed", "order": order["OrderID"]})}
"""}


# ---- tables: durable writes in three regions, beside peers ----

@contextlib.contextmanager
def process(words, port):
    log = tempfile.TemporaryFile()
    child = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                lab.Connection(port).close()
                break
            time.sleep(0.1)
        yield child
    finally:
        child.terminate()
        child.wait(10)


@contextlib.contextmanager
def dynalite(folder, data):
    script = pathlib.Path(folder) / "node_modules/dynalite/cli.js"
    if not script.exists():
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, "dynalite@4"],
                       check=True)
    port = lab.free_port()
    with process(["node", str(script), "--host", "127.0.0.1", "--port", str(port), "--createTableMs", "0",
                  "--path", f"{data}/dynalite"], port):
        lab.make_orders(port)
        yield port, [lab.put_order(i, port) for i in range(5000)]


def etcd_put(number, port):
    body = json.dumps({"key": base64.b64encode(b"orders/order-%08d" % number).decode(),
                       "value": base64.b64encode(b"x" * 300).decode()}).encode()
    return (f"POST /v3/kv/put HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def leads(port):
    try:
        connection = lab.Connection(port)
        status = json.loads(connection.ask(f"POST /v3/maintenance/status HTTP/1.1\r\nHost: x:{port}\r\n"
                                           "Content-Length: 2\r\n\r\n{}".encode())[1])
        return status["leader"] == status["header"]["member_id"]
    except (OSError, KeyError, ValueError):
        return False


@contextlib.contextmanager
def etcd(data):
    """Three members; the client asks the leader, its best case, over its HTTP gateway as ours is asked over HTTP."""
    members = [(f"m{i}", lab.free_port(), lab.free_port()) for i in range(3)]
    cluster = ",".join(f"{name}=http://127.0.0.1:{peer}" for name, _, peer in members)
    with contextlib.ExitStack() as stack:
        children = [subprocess.Popen(
            ["etcd", "--name", name, "--data-dir", f"{data}/{name}", "--listen-client-urls", f"http://127.0.0.1:{port}",
             "--advertise-client-urls", f"http://127.0.0.1:{port}", "--listen-peer-urls", f"http://127.0.0.1:{peer}",
             "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}", "--initial-cluster", cluster,
             "--logger", "zap", "--log-level", "error"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for name, port, peer in members]
        for child in children:
            stack.callback(child.wait)
            stack.callback(child.terminate)
        leader = None
        while leader is None:
            time.sleep(0.2)
            leader = next((port for _, port, _ in members if leads(port)), None)
        yield leader, [etcd_put(i, leader) for i in range(5000)]


def tables(options):
    """Every system is up all the time and has its turn in every round, so that what else the machine does hits all.
    """
    results = {}
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="skein-bench.")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        cluster = lab.Cluster(options.bin)
        stack.callback(cluster.close)
        lab.make_orders(cluster.port)
        systems = {"skein": (cluster.port, [lab.put_order(i, cluster.port) for i in range(5000)])}
        checked = lab.Cluster(options.bin, ())
        stack.callback(checked.close)
        lab.make_orders(checked.port, checked.key())
        systems["skein, signatures verified"] = (
            checked.port, [lab.put_order(i, checked.port, checked.key()) for i in range(5000)])
        if options.peers:
            systems["dynalite 4 on disk"] = stack.enter_context(dynalite(options.peers, folder))
        if options.peers and shutil.which("etcd"):
            systems["etcd, three members"] = stack.enter_context(etcd(folder))
        elif options.peers:
            print("etcd is not installed: skipped", file=sys.stderr)
        for _ in range(options.runs):
            for name, (port, requests) in systems.items():
                results.setdefault(name, []).append(lab.load(port, requests, 64, options.seconds, folder))
    ours = lab.median([r["per_second"] for r in results["skein"]])
    for name, runs in results.items():
        rate = lab.median([r["per_second"] for r in runs])
        lab.tell("put_item_64_connections", system=name, per_second=rate, skein_is_times=round(ours / rate, 2),
                 p50_ms=lab.median([r["p50_ms"] for r in runs]), p99_ms=lab.median([r["p99_ms"] for r in runs]),
                 errors=sum(r["errors"] for r in runs))


# ---- functions: warm and cold ----

def function_make(port, name, handler):
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", HANDLERS[handler])
    document = {"FunctionName": name, "Runtime": "python3.11", "Handler": "app.handler",
                "Role": "arn:aws:iam::000000000000:role/bench", "MemorySize": 256,
                "Code": {"ZipFile": base64.b64encode(code.getvalue()).decode()}}
    lab.insist(port, lab.request("lambda", "/2015-03-31/functions", json.dumps(document).encode(),
                                 {"content-type": "application/json"}, port), (201,))


def invoke(name, port):
    body = json.dumps({"body": json.dumps({"OrderID": "o-1"})}).encode()
    return lab.request("lambda", f"/2015-03-31/functions/{name}/invocations", body,
                       {"content-type": "application/json"}, port)


def functions(options):
    cluster = lab.Cluster(options.bin)
    try:
        cold = []
        function_make(cluster.port, "trivial", "trivial")
        data = invoke("trivial", cluster.port)
        lab.insist(cluster.port, data)
        time.sleep(5)  # every node has its runtime loaded
        for i in range(options.runs * 3):
            function_make(cluster.port, f"orders-{i}", "orders")
            time.sleep(1)
            connection = lab.Connection(cluster.port)
            call = invoke(f"orders-{i}", cluster.port)
            begin = time.monotonic()
            status, body = connection.ask(call)
            cold.append((time.monotonic() - begin) * 1000)
            connection.close()
            if status != 200 or b"Order placed" not in body:
                raise RuntimeError(f"wrong answer: {status} {body[:200]!r}")
        lab.tell("cold_start_boto3", median_ms=lab.median(cold), worst_ms=round(max(cold), 1), starts=len(cold))
        runs = [lab.load(cluster.port, [data], 1, options.seconds, cluster.data) for _ in range(options.runs)]
        lab.tell("warm_invoke_1_connection", p50_ms=lab.median([r["p50_ms"] for r in runs]),
                 p99_ms=lab.median([r["p99_ms"] for r in runs]), errors=sum(r["errors"] for r in runs))
    finally:
        cluster.close()


# ---- failover: the longest time without an acknowledged write ----

class Writer(threading.Thread):
    """One client, one write after the other, over all keys; on a lost connection it tries again at once."""

    def __init__(self, port, requests):
        super().__init__(daemon=True)
        self.port, self.requests = port, requests
        self.gap = self.acknowledged = self.refused = 0
        self.is_stopped = False

    def run(self):
        connection, last, i = None, time.monotonic(), 0
        while not self.is_stopped:
            try:
                connection = connection or lab.Connection(self.port)
                status, _ = connection.ask(self.requests[i % len(self.requests)])
                if status != 200:
                    self.refused += 1
                    continue
                now = time.monotonic()
                self.gap = max(self.gap, now - last)
                last, i, self.acknowledged = now, i + 1, i + 1
            except (OSError, lab.http.client.HTTPException):
                connection = None


def failover(options):
    cluster = lab.Cluster(options.bin)
    try:
        lab.make_orders(cluster.port)
        requests = [lab.put_order(i, cluster.port) for i in range(2000)]
        for figure, victim, back in (("kill_of_leading_node", ("leader-of", "Orders"), ("nodes",)),
                                     ("kill_of_region", ("region", "eu-west-1"), ("region", "eu-west-1"))):
            gaps, refused, count = [], 0, 0
            for _ in range(options.kills):
                time.sleep(5)  # the one that came back catches up
                writers = [Writer(cluster.port, requests[i::4]) for i in range(4)]
                for writer in writers:
                    writer.start()
                time.sleep(1)
                cluster.skein("kill", *victim)
                time.sleep(3)
                for writer in writers:
                    writer.is_stopped = True
                for writer in writers:
                    writer.join()
                gaps.append(max(writer.gap for writer in writers) * 1000)
                refused += sum(writer.refused for writer in writers)
                count += sum(writer.acknowledged for writer in writers)
                cluster.skein("start", *back)
            lab.tell(figure, longest_gap_median_ms=lab.median(gaps), gaps_ms=[round(gap) for gap in gaps],
                     acknowledged=count, refused=refused)
    finally:
        cluster.close()


# ---- idle ----

def cpu_ticks(pid):
    words = lab.read_file(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(words[11]) + int(words[12])


def resident_kib(pid):
    """What it has for itself, and its share of what it has with others, as the kernel counts them."""
    return next(int(line.split()[1]) for line in lab.read_file(f"/proc/{pid}/status").splitlines()
                if line.startswith("VmRSS:"))


def idle(options):
    cluster = lab.Cluster(options.bin)
    try:
        time.sleep(5)
        pids = cluster.pids()
        before = {name: cpu_ticks(pid) for name, pid in pids.items()}
        time.sleep(options.seconds * 4)
        for kind in ("node", "controller"):
            used = [(cpu_ticks(pid) - before[name]) / (options.seconds * 4)  # ticks are hundredths of a second
                    for name, pid in pids.items() if name.startswith(kind)]
            lab.tell(f"idle_{kind}", cpu_percent_worst=round(max(used), 2), cpu_percent_median=lab.median(used),
                     rss_mib_worst=round(max(resident_kib(pid) for name, pid in pids.items()
                                             if name.startswith(kind)) / 1024, 1))
    finally:
        cluster.close()


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0])
    parser.add_argument("bin")
    parser.add_argument("what", choices=("tables", "functions", "failover", "idle"))
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--peers")
    options = parser.parse_args()
    if options.what in ("tables", "functions") and shutil.which("wrk") is None:
        print("wrk is not installed: nothing measured", file=sys.stderr)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    {"tables": tables, "functions": functions, "failover": failover, "idle": idle}[options.what](options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
