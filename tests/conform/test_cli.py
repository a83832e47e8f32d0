"""The operator's command against a cluster of three nodes: names, status, logs, what was killed with -9."""
import base64
import functools
import io
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import zipfile

import boto3

SKEIN = [os.environ["SKEIN"], "--data", os.environ["SKEIN_FOLDER"]]
FOLDER = pathlib.Path(os.environ["SKEIN_FOLDER"])
ENDPOINT = os.environ["SKEIN_ENDPOINT"]
HANDLER = """
import os
def handler(event, context):
    print('hello', event['name'])
    print('a line', 'without an end', end='')
"""


def run(words, timeout=120, **arguments):
    return subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False, **arguments)


def skein(*words, code=0):
    done = run(SKEIN + list(words))
    if code is not None and done.returncode != code:
        raise AssertionError(f"skein {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def status():
    return json.loads(skein("--json", "status", code=None).stdout)


def wait_for(what, seconds=60):
    end = time.monotonic() + seconds
    while not what(status()):
        if time.monotonic() > end:
            raise AssertionError("not reached: " + skein("status", code=None).stdout)
        time.sleep(0.2)


@functools.lru_cache
def client(service):
    return boto3.client(service, endpoint_url=ENDPOINT, region_name="us-east-1")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Cluster(unittest.TestCase):
    def tearDown(self):
        skein("resume", "all", code=None)
        skein("start", "all", code=None)
        wait_for(lambda s: s["healthy"])


class Names(Cluster):
    def test_unknown_names_are_answered_with_those_there_are(self):
        for words, wanted in ((["node-9"], "node-3"), ([], "controller-1"), (["region", "mars"], "region eu-west-1"),
                              (["leader-of", "Nothing"], "Nothing"), (["leader-of"], "no table")):
            done = skein("kill", *words, code=1)
            self.assertIn(wanted, done.stderr)
            self.assertEqual(done.stdout, "")
        self.assertEqual(status()["nodes_up"], 3)

    def test_the_leader_of_a_table_leads_its_rows(self):
        dynamodb = client("dynamodb")
        name = "conform-names"
        dynamodb.create_table(TableName=name, BillingMode="PAY_PER_REQUEST",
                              AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                              KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}])
        dynamodb.put_item(TableName=name, Item={"id": {"S": "the only one"}})
        for _ in range(5):  # a new cluster's leaders may still be moving to where they belong
            table = next(t for t in status()["tables"] if t["name"] == name)
            self.assertEqual((table["shards"], table["leads"]), (1, 1))  # one row, one shard, one leader
            words = skein("pause", "leader-of", name).stdout
            self.assertRegex(words, r"^paused node-\d .*1 of the 1 shards")
            paused = words.split()[1]
            if paused == table["leader"]:
                break
            skein("resume", paused)
        self.assertEqual(paused, table["leader"])
        wait_for(lambda s: next(t for t in s["tables"] if t["name"] == name)["leader"] not in (None, paused))
        refused = skein("resume", "leader-of", name, code=1)
        self.assertIn(paused, refused.stderr)  # says who is paused
        skein("resume", paused)
        dynamodb.delete_table(TableName=name)

    def test_the_leading_controller(self):
        leader = status()["controller_leader"]
        self.assertIn(leader, skein("kill", "controller-leader").stdout)
        wait_for(lambda s: s["controller_leader"] not in (None, leader))
        marked = [c["name"] for c in status()["controllers"] if c["leads"]]
        self.assertEqual(marked, [status()["controller_leader"]])

    def test_a_region_and_several_names(self):
        done = skein("stop", "region", "eu-west-1").stdout
        self.assertEqual({line.split()[1] for line in done.splitlines()}, {"node-2", "controller-2"})
        skein("stop", "region", "eu-west-1", code=1)  # there is nobody left to stop
        skein("start", "node-2", "controller-2")


class Status(Cluster):
    def test_a_loss_is_said_in_words_with_what_to_do(self):
        skein("kill", "node-2")
        problems = {p["what"]: p["next"] for p in status()["problems"]}
        self.assertEqual(problems["node-2 is down"], "skein start node-2")
        skein("pause", "node-3")
        text = skein("status", code=None).stdout
        self.assertIn("degraded", text)
        self.assertIn("node-3 is paused\n    -> skein resume node-3", text)
        self.assertNotIn("\x1b", text)  # colours only on a terminal
        skein("resume", "node-3")

    def test_started_by_many_at_once_it_runs_once(self):
        for name in ("controller-1", "node-1") * 3:
            skein("kill", name)
            starts = [subprocess.Popen(SKEIN + ["start", name], stdout=subprocess.DEVNULL) for _ in range(8)]
            self.assertEqual([start.wait(60) for start in starts], [0] * 8)
            wait_for(lambda s: s["healthy"])

    def test_healthy_is_one_line_and_a_page(self):
        lines = skein("status").stdout.splitlines()
        self.assertTrue(lines[0].startswith("healthy"), lines[0])
        self.assertEqual(sum("leads the controllers" in line for line in lines), 1)
        self.assertLess(len(lines), 24)
        self.assertLess(max(map(len, lines)), 121)


class Logs(Cluster):
    @classmethod
    def setUpClass(cls):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as z:
            z.writestr("app.py", HANDLER)
        client("lambda").create_function(
            FunctionName="conform-logs", Runtime="python3.11", Role="arn:aws:iam::000000000000:role/conform",
            Handler="app.handler", Code={"ZipFile": archive.getvalue()},
            Environment={"Variables": {"PASSWORD": "a secret that nobody may log"}})

    @classmethod
    def tearDownClass(cls):
        client("lambda").delete_function(FunctionName="conform-logs")

    def invoke(self, name):
        return client("lambda").invoke(FunctionName="conform-logs", Payload=json.dumps({"name": name}), LogType="Tail")

    def wait_for_lines(self, word):
        end = time.monotonic() + 10
        while True:
            lines = [json.loads(line) for line in skein("--json", "logs", "conform-logs", code=None).stdout.splitlines()]
            if any(word in line["text"] for line in lines) and lines[-1]["text"].startswith("REPORT"):
                return lines
            self.assertLess(time.monotonic(), end, lines)
            time.sleep(0.1)

    def test_lines_of_a_function_from_every_node(self):
        answer = self.invoke("first")
        tail = base64.b64decode(answer["LogResult"]).decode()
        self.assertIn("hello first\n", tail)
        lines = self.wait_for_lines("hello first")
        request = next(line["text"].split()[2] for line in reversed(lines) if line["text"].startswith("START"))
        mine = [line["text"] for line in lines][-5:]
        self.assertRegex(mine[0], rf"^START RequestId: {request} Version: \$LATEST$")
        self.assertEqual(mine[1:3], ["hello first", "a line without an end"])
        self.assertEqual(mine[3], f"END RequestId: {request}")
        self.assertRegex(mine[4], rf"^REPORT RequestId: {request}\tDuration: .* ms\tBilled Duration: \d+ ms\t")
        self.assertEqual(sorted(line["time"] for line in lines), [line["time"] for line in lines])
        for node in {line["node"] for line in lines}:
            file = FOLDER / node / "data/logs/conform-logs"
            self.assertEqual(file.stat().st_mode & 0o777, 0o600)

    def test_following(self):
        self.invoke("before")
        self.wait_for_lines("hello before")
        follower = subprocess.Popen(SKEIN + ["logs", "conform-logs", "--follow", "--lines", "1"], text=True,
                                    stdout=subprocess.PIPE)
        try:
            self.assertIn("REPORT", follower.stdout.readline())
            self.invoke("after")
            seen = [follower.stdout.readline() for _ in range(5)]
            self.assertTrue(any("hello after" in line for line in seen), seen)
        finally:
            follower.kill()
            follower.wait()
            follower.stdout.close()

    def test_no_secret_is_in_any_log(self):
        self.invoke("secret")
        self.wait_for_lines("hello secret")
        secrets = [os.environ["AWS_SECRET_ACCESS_KEY"], "a secret that nobody may log"]
        secrets += re.findall(r"curve_secret = (\S+)", (FOLDER / "node-1/daemon.conf").read_text())
        for file in [*FOLDER.glob("*/log"), *FOLDER.glob("*/data/logs/*")]:
            text = file.read_text(errors="replace")
            for secret in secrets:
                self.assertNotIn(secret, text, file)

    def test_unknown_names(self):
        done = skein("logs", "nobody", code=1)
        self.assertIn("node-1", done.stderr)
        self.assertIn("conform-logs", done.stderr)
        self.assertIn("node.started", skein("logs", "node-1", "--lines", "1000").stdout)


class Up(Cluster):
    def test_after_everything_was_killed(self):
        for file in FOLDER.glob("*/pid"):
            os.kill(int(file.read_text()), signal.SIGKILL)
        wait_for(lambda s: s["nodes_up"] + s["controllers_up"] == 0, 10)
        self.assertIn("skein up", skein("status", code=1).stdout)
        (FOLDER / "node-1/pid").write_text(f"{os.getpid()}\n")  # a number that is somebody else's by now
        skein("kill", "node-1", code=1)
        self.assertIn("ready", skein("up").stdout)

    def test_ports_of_a_cluster_that_is_down_stay_its_own(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="skein-conform."))
        environment = {**os.environ, "XDG_STATE_HOME": str(folder)}
        small = ["--nodes", "1", "--regions", "1", "--controllers", "1", "--shards", "1"]
        first, second = ([SKEIN[0], "--data", str(folder / name)] for name in ("first", "second"))
        port = str(free_port())
        try:
            self.assertEqual(run(first + ["up", "--port", port, *small], env=environment).returncode, 0)
            self.assertEqual(run(first + ["down", "--keep"], env=environment).returncode, 0)
            refused = run(second + ["up", "--port", port, *small], env=environment)
            self.assertEqual(refused.returncode, 1)
            self.assertIn(str(folder / "first"), refused.stderr)
            made = run(second + ["up", "--port", str(free_port()), *small], env=environment)
            self.assertEqual(made.returncode, 0, made.stderr)
            ports = [set(re.findall(r"127\.0\.0\.1:(\d+)", (folder / name / "cluster.conf").read_text()))
                     for name in ("first", "second")]
            self.assertEqual(ports[0] & ports[1], set())
        finally:
            run(first + ["down"], env=environment)
            run(second + ["down"], env=environment)
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    unittest.main()
