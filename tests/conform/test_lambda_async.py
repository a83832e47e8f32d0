"""Asynchronous invocations: accepted means it runs, whoever dies in between; retries, and how they end.

The cluster is one whose retries come after a second (event_retry_ms) and whose leases end after two
(event_lease_ms); CMakeLists.txt says so."""
import json
import os
import signal
import subprocess
import time
import unittest
import urllib.request
import uuid

from test_lambda import LambdaCase, client, package

SKEIN = [os.environ["SKEIN"], "--data", os.environ["SKEIN_FOLDER"]]
LIMIT = 262144

# Each run is a row: function and request id, then when. The table is what the tests look at.
RECORDER = """
import boto3, os, time
table = boto3.resource('dynamodb').Table(os.environ['TABLE'])
def handler(event, context):
    table.put_item(Item={'id': context.aws_request_id, 'at': int(time.time() * 1000), 'n': event.get('n', 0)})
    time.sleep(event.get('sleep', 0))
    if event.get('fail'):
        raise ValueError('asked for')
    table.put_item(Item={'id': context.aws_request_id + '/done', 'at': int(time.time() * 1000)})
"""


def status():
    done = subprocess.run(SKEIN + ["--json", "status"], check=False, capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout)


class Async(LambdaCase):
    @classmethod
    def setUpClass(cls):
        cls.dynamodb = client("dynamodb")
        cls.settled = {}
        cls.table = "conform-runs-" + uuid.uuid4().hex[:8]
        cls.dynamodb.create_table(
            TableName=cls.table, BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"},
                                  {"AttributeName": "at", "AttributeType": "N"}])
        cls.dynamodb.get_waiter("table_exists").wait(TableName=cls.table)

    @classmethod
    def tearDownClass(cls):
        """What was handled, or given up, never ran again."""
        time.sleep(4.5)  # a third retry would come after four seconds
        again = {request_id: cls.runs(request_id) for request_id, count in cls.settled.items()
                 if len(cls.runs(request_id)) != count}
        cls.dynamodb.delete_table(TableName=cls.table)
        assert not again, again

    def create_recorder(self, **members):
        return self.create(RECORDER, Environment={"Variables": {"TABLE": self.table}}, **{"Timeout": 10, **members})

    def send(self, name, **event):
        answer = self.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event))
        self.assertEqual((answer["StatusCode"], answer["Payload"].read()), (202, b""))
        return answer["ResponseMetadata"]["RequestId"]

    @classmethod
    def runs(cls, request_id):
        found = cls.dynamodb.query(TableName=cls.table, ConsistentRead=True, KeyConditionExpression="id = :id",
                                    ExpressionAttributeValues={":id": {"S": request_id}})
        return [int(item["at"]["N"]) for item in found["Items"]]

    def await_runs(self, request_id, count, seconds=30):
        end = time.monotonic() + seconds
        while len(self.runs(request_id)) < count:
            self.assertLess(time.monotonic(), end, f"{request_id}: {self.runs(request_id)}")
            time.sleep(0.1)
        return self.runs(request_id)

    def assert_runs(self, request_id, count):
        """So many by now, and looked at again at the end of all tests."""
        self.assertEqual(len(self.runs(request_id)), count)
        self.settled[request_id] = count

    def test_runs_once_with_the_request_id_of_the_answer(self):
        request_id = self.send(self.create_recorder())
        self.await_runs(request_id + "/done", 1)
        self.assert_runs(request_id, 1)

    def test_many_events_each_run_once(self):
        name = self.create_recorder()
        ids = [self.send(name, n=n) for n in range(40)]
        self.assertEqual(len(set(ids)), len(ids))
        for request_id in ids:
            self.await_runs(request_id + "/done", 1, 60)
        for request_id in ids:
            self.assert_runs(request_id, 1)

    def test_failure_is_retried_twice_by_default(self):
        request_id = self.send(self.create_recorder(), fail=True)
        runs = self.await_runs(request_id, 3)
        self.assertGreaterEqual(runs[1] - runs[0], 1000)
        self.assertGreaterEqual(runs[2] - runs[1], 2000)
        self.assert_runs(request_id, 3)

    def test_attempts_as_configured(self):
        name = self.create_recorder()
        self.lambda_.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
        request_id = self.send(name, fail=True)
        self.await_runs(request_id, 1)
        self.assert_runs(request_id, 1)

    def test_node_functions_too(self):
        if not os.access("/usr/bin/node", os.X_OK):
            self.skipTest("no Node.js on this machine")
        name = self.create("", Runtime="nodejs20.x", Handler="index.handler", Code={"ZipFile": package(**{
            "index.js": "exports.handler = async () => { console.log('ran'); };"})})
        request_id = self.send(name)
        end = time.monotonic() + 20
        while True:
            log = subprocess.run(SKEIN + ["logs", name], check=False, capture_output=True, text=True, timeout=60).stdout
            if request_id in log and "ran" in log:
                break
            self.assertLess(time.monotonic(), end, log)
            time.sleep(0.2)

    def test_longer_than_a_lease_runs_once(self):
        request_id = self.send(self.create_recorder(), sleep=5)
        self.await_runs(request_id + "/done", 1)
        self.assert_runs(request_id, 1)

    def test_limits_and_unknown_functions(self):
        name = self.create_recorder()
        fits = b'"' + b"x" * (LIMIT - 2) + b'"'
        message = self.assert_refused("RequestEntityTooLargeException", self.lambda_.invoke, FunctionName=name,
                                      InvocationType="Event", Payload=fits + b" ")
        self.assertIn(f"limit {LIMIT} bytes", message)
        answer = self.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=fits)
        self.assertEqual(answer["StatusCode"], 202)
        self.assert_refused("ResourceNotFoundException", self.lambda_.invoke, FunctionName=name + "x",
                            InvocationType="Event")
        self.assert_refused("InvalidRequestContentException", self.lambda_.invoke, FunctionName=name,
                            InvocationType="Event", Payload=b"{")
        self.assertEqual(self.lambda_.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"], 204)

    def test_events_outlive_the_nodes_that_have_them(self):
        """Events that wait for their retry, and then the nodes that would run them die, one after the other."""
        name = self.create_recorder(Timeout=3)
        ids = [self.send(name, fail=True) for _ in range(12)]
        for request_id in ids:
            self.await_runs(request_id, 1)
        slow = [self.send(name, sleep=1) for _ in range(6)]
        victims = sorted(status()["nodes"], key=lambda node: -node["leads"])[:2]
        try:
            for victim in victims:
                os.kill(victim["pid"], signal.SIGKILL)
                time.sleep(1)
                subprocess.run(SKEIN + ["start", victim["name"]], check=True, capture_output=True, timeout=60)
            for request_id in ids:
                self.await_runs(request_id, 3, 60)
            for request_id in slow:
                self.await_runs(request_id + "/done", 1, 60)
        finally:
            subprocess.run(SKEIN + ["start", "all"], check=False, capture_output=True, timeout=60)

    def test_killed_between_acceptance_and_execution(self):
        """Events wait for a function that may not run yet; the nodes of the region that answered 202 are killed."""
        name = self.create_recorder()
        self.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        ids = [self.send(name, n=n) for n in range(20)]
        for node in status()["nodes"]:
            if node["region"] == "us-east-1" and node["pid"]:
                os.kill(node["pid"], signal.SIGKILL)
        try:
            self.assertEqual([run for request_id in ids for run in self.runs(request_id)], [])
            self.lambda_.delete_function_concurrency(FunctionName=name)
            for request_id in ids:
                self.await_runs(request_id + "/done", 1, 60)
            for request_id in ids:
                self.assert_runs(request_id, 1)
        finally:
            subprocess.run(SKEIN + ["start", "all"], check=False, capture_output=True, timeout=60)

    def test_metrics_tell(self):
        self.await_runs(self.send(self.create_recorder()) + "/done", 1)
        total = 0
        for node in status()["nodes"]:
            with urllib.request.urlopen(f"http://{node['facts']['http']}/_skein/metrics", timeout=10) as page:
                total += sum(int(line.split()[1]) for line in page.read().decode().splitlines()
                             if line.startswith("skein_events_handled_total "))
        self.assertGreater(total, 0)


if __name__ == "__main__":
    unittest.main()
