"""A cluster of its own for a measurement, a client that does little, and the printing of figures.

Everything listens on 127.0.0.1, lives in a folder made for the run, and is stopped when the run ends,
however it ends."""
import contextlib
import datetime
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

REGION = "us-east-1"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def machine():
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return {"cores": os.cpu_count(), "memory_gib": memory, "load": round(os.getloadavg()[0], 1),
            "date": datetime.date.today().isoformat()}


def tell(figure, **values):
    print(json.dumps({"figure": figure, **values, "machine": machine()}), flush=True)


def median(values):
    return round(statistics.median(values), 3)


def read_file(path):
    return pathlib.Path(path).read_text()


# ---- our cluster ----

class Cluster:
    def __init__(self, bin_folder, up=("--insecure-any-key",)):
        self.data = tempfile.mkdtemp(prefix="skein-bench.")
        self.port = free_port()
        self.program = str(pathlib.Path(bin_folder).resolve() / "skein")
        self.up(*up)

    def skein(self, *words):
        done = subprocess.run([self.program, "--data", self.data, *words], capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(f"skein {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def up(self, *words):
        self.skein("up", "--port", str(self.port), *words)

    def pids(self, prefix=""):
        return {folder.name: int(read_file(folder / "pid"))
                for folder in sorted(pathlib.Path(self.data).iterdir())
                if folder.name.startswith(prefix) and (folder / "pid").exists()}

    def key(self):
        words = dict(line.split(" = ", 1) for line in read_file(f"{self.data}/node-1/daemon.conf").splitlines()
                     if " = " in line)
        return words["access_key"], words["secret_key"]

    def close(self):
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            self.skein("down")
        shutil.rmtree(self.data, ignore_errors=True)


# ---- requests ----

def request(service, path, body, headers, port, key=("AKIDEXAMPLE", "secret")):
    """The bytes of a signed POST. A signature holds for a quarter of an hour: build it right before the run."""
    def mac(secret, text):
        return hmac.new(secret, text.encode(), hashlib.sha256).digest()

    at = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{at[:8]}/{REGION}/{service}/aws4_request"
    signed = {"host": f"127.0.0.1:{port}", "x-amz-date": at, **headers}
    names = ";".join(sorted(signed))
    canonical = "\n".join(["POST", path, "", *(f"{name}:{signed[name]}" for name in sorted(signed)), "", names,
                           hashlib.sha256(body).hexdigest()])
    text = "\n".join(["AWS4-HMAC-SHA256", at, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    secret = ("AWS4" + key[1]).encode()
    for part in scope.split("/"):
        secret = mac(secret, part)
    signed["authorization"] = (f"AWS4-HMAC-SHA256 Credential={key[0]}/{scope}, SignedHeaders={names}, "
                               f"Signature={mac(secret, text).hex()}")
    signed["content-length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def dynamodb(operation, document, port, key=("AKIDEXAMPLE", "secret")):
    return request("dynamodb", "/", json.dumps(document, separators=(",", ":")).encode(),
                   {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"DynamoDB_20120810.{operation}"},
                   port, key)


def put_order(number, port, key=("AKIDEXAMPLE", "secret")):
    """About 300 bytes of attributes."""
    return dynamodb("PutItem", {"TableName": "Orders", "Item": {
        "OrderID": {"S": f"order-{number:08d}"}, "CustomerID": {"S": f"customer-{number % 977:06d}"},
        "Total": {"N": str(number % 99999)}, "Status": {"S": "PLACED"}, "CreatedAt": {"S": "2026-01-01T00:00:00Z"},
        "Items": {"L": [{"M": {"Sku": {"S": f"sku-{number % 100:03d}"}, "Qty": {"N": "2"}}}]},
        "Note": {"S": hashlib.sha384(str(number).encode()).hexdigest()}}}, port, key)


class Connection:
    def __init__(self, port, patience_s=30):
        self.socket = socket.create_connection(("127.0.0.1", port), patience_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, data):
        self.socket.sendall(data)
        answer = http.client.HTTPResponse(self.socket)
        answer.begin()
        return answer.status, answer.read()

    def close(self):
        self.socket.close()


def insist(port, data, allowed=(200,), seconds=30):
    """Ask until the answer is one of those allowed; returns its body."""
    end = time.monotonic() + seconds
    while True:
        connection = Connection(port)
        status, body = connection.ask(data)
        connection.close()
        if status in allowed:
            return body
        if time.monotonic() > end:
            raise RuntimeError(f"refused: {status} {body[:200]!r}")
        time.sleep(0.1)


def make_orders(port, key=("AKIDEXAMPLE", "secret")):
    insist(port, dynamodb("CreateTable", {
        "TableName": "Orders", "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "OrderID", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "OrderID", "AttributeType": "S"}]}, port, key), (200, 400))
    insist(port, put_order(0, port, key))


# ---- load ----

LUA = """
local requests, count, next_one = {}, 0, 0
function init(args)
  local file = assert(io.open(args[1], "rb"))
  while true do
    local size = file:read("*l")
    if not size then break end
    count = count + 1
    requests[count] = file:read(tonumber(size))
    file:read(1)
  end
  file:close()
  request = function() next_one = next_one % count + 1; return requests[next_one] end
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %f %f %f %d\\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def load(port, requests, connections, seconds, folder):
    """wrk replays the requests; returns per_second, p50_ms, p99_ms, errors."""
    script, replay = f"{folder}/replay.lua", f"{folder}/requests"
    pathlib.Path(script).write_text(LUA)
    with open(replay, "wb") as file:
        for data in requests:
            file.write(b"%d\n%s\n" % (len(data), data))
    out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", script,
                          f"http://127.0.0.1:{port}/", "--", replay], capture_output=True, text=True, check=True).stdout
    words = next(line for line in out.splitlines() if line.startswith("RESULT")).split()[1:]
    return {"per_second": round(float(words[0])), "p50_ms": float(words[1]), "p99_ms": float(words[2]),
            "errors": int(words[3])}
