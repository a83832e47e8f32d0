"""A cluster on hosts of its own (skein-net run): a region is cut off, power is lost, a disk is full. Nothing that was
acknowledged is lost, the side of the few answers nothing, and in the end all replicas are equal."""
import json
import os
import pathlib
import subprocess
import threading
import time
import unittest
import uuid
import warnings

import boto3
import botocore.config
import botocore.exceptions

SKEIN = [os.environ["SKEIN"], "--data", os.environ["SKEIN_FOLDER"]]
NODES = os.environ["SKEIN_NODES"].split()
FAILED = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)


def net(*words):
    done = subprocess.run([os.environ["SKEIN_NET_COMMAND"], *words], capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise AssertionError(f"{words}: {done.stdout} {done.stderr}")
    return done.stdout.strip()


def status():
    return json.loads(subprocess.run(SKEIN + ["--json", "status"], capture_output=True, text=True, timeout=60).stdout)


def wait_until_equal(seconds=60):
    end = time.monotonic() + seconds
    while True:
        now = status()
        if now["healthy"] and now["shards_equal"] == now["shards"]:
            return
        if time.monotonic() > end:
            raise AssertionError("not equal again: " + json.dumps(now)[:4000])
        time.sleep(0.2)


def client(node, patience_s=2, attempts=1):
    """Of one node (from 0), without the retries of the SDK unless they are asked for."""
    config = botocore.config.Config(connect_timeout=patience_s, read_timeout=patience_s,
                                    retries={"total_max_attempts": attempts, "mode": "standard"})
    return boto3.client("dynamodb", endpoint_url=NODES[node], config=config)


class Writer(threading.Thread):
    """Puts orders, each once, through one node, and remembers which ones were acknowledged."""

    def __init__(self, table, node, name):
        super().__init__()
        self.table, self.node, self.order = table, node, name
        self.acknowledged = []
        self.is_ended = threading.Event()

    def run(self):
        dynamodb = client(self.node)
        number = 0
        while not self.is_ended.wait(0.01):
            number += 1
            key = f"{self.order}-{number}"
            try:
                dynamodb.put_item(TableName=self.table, Item={"id": {"S": key}, "total": {"N": str(number)}},
                                  ConditionExpression="attribute_not_exists(id)")
                self.acknowledged.append(key)
            except FAILED:
                pass  # may have happened

    def end(self):
        self.is_ended.set()
        self.join()


class Faults(unittest.TestCase):
    def setUp(self):
        warnings.simplefilter("ignore", ResourceWarning)  # boto3 leaves its connections to the collector
        self.table = "orders-" + uuid.uuid4().hex[:8]
        self.writers = []
        client(0, 10, 5).create_table(TableName=self.table, BillingMode="PAY_PER_REQUEST",
                                      AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                                      KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}])
        client(4, 10, 5).get_waiter("table_exists").wait(TableName=self.table)

    def tearDown(self):
        for writer in self.writers:
            writer.end()
        net("heal", "all")

    def write_through(self, *nodes):
        for node in nodes:
            self.writers.append(Writer(self.table, node, f"from-{node + 1}"))
            self.writers[-1].start()
        time.sleep(0.5)

    def acknowledged(self):
        return {key for writer in self.writers for key in writer.acknowledged}

    def end_writers(self):
        for writer in self.writers:
            writer.end()

    def read_everything(self, node, consistent):
        pages = client(node, 10, 3).get_paginator("scan").paginate(TableName=self.table, ConsistentRead=consistent)
        return {item["id"]["S"] for page in pages for item in page["Items"]}

    def assert_nothing_lost(self):
        self.assertGreater(len(self.acknowledged()), 20)
        for node in (0, 2, 4):  # one of each region
            self.assertEqual(self.acknowledged() - self.read_everything(node, True), set())
        for node in (0, 2, 4):
            end = time.monotonic() + 5
            while self.acknowledged() - self.read_everything(node, False) and time.monotonic() < end:
                time.sleep(0.1)
            self.assertEqual(self.acknowledged() - self.read_everything(node, False), set())

    def write_until_a_disk_refuses(self, log):
        """What is allocated already takes some more."""
        dynamodb = client(1, 10, 3)
        for n in range(400):
            if "node.fatal" in log.read_text():
                return
            dynamodb.put_item(TableName=self.table, Item={"id": {"S": f"large-{n}"}, "text": {"S": "x" * 300000}})
        raise AssertionError("the disk of node-6 is full, and it says nothing")

    def test_a_region_is_cut_off(self):
        client(0, 10).put_item(TableName=self.table, Item={"id": {"S": "first"}, "total": {"N": "1"}})
        self.assertIn("Item", client(4, 10).get_item(TableName=self.table, Key={"id": {"S": "first"}},
                                                     ConsistentRead=True))
        net("fault", "cut", "ap-southeast-1", "rest")
        time.sleep(2.5)  # whoever led there has noticed by then, and others lead

        self.write_through(0, 2)
        before = len(self.acknowledged())
        for n in range(3):
            client(0, 5, 3).update_item(TableName=self.table, Key={"id": {"S": "first"}},
                                        UpdateExpression="SET amount = :n", ExpressionAttributeValues={":n": {"N": str(n)}})
            with self.assertRaises(FAILED):
                client(4, 1).get_item(TableName=self.table, Key={"id": {"S": "first"}}, ConsistentRead=True)
            with self.assertRaises(FAILED):
                client(5, 1).put_item(TableName=self.table, Item={"id": {"S": f"minority-{n}"}})
        self.assertGreater(len(self.acknowledged()), before)

        net("heal", "all")
        self.end_writers()
        wait_until_equal()
        self.assert_nothing_lost()

    def test_power_is_lost_on_all_hosts_but_one(self):
        self.write_through(0, 2, 5)

        net("fault", "power", "node-1,node-2,node-3,node-4,node-5,controllers")
        self.end_writers()
        net("heal", "all")

        wait_until_equal()
        self.assert_nothing_lost()

    def test_some_of_what_was_not_synced_is_there_after_all(self):
        self.write_through(1, 3, 4)

        net("fault", "power", "node-1,node-3,node-5", "7")
        net("heal", "all")
        time.sleep(0.5)
        self.end_writers()

        wait_until_equal()
        self.assert_nothing_lost()

    def test_a_disk_is_full(self):
        self.write_through(0, 2)
        net("fault", "fill", "node-6")
        before = len(self.acknowledged())

        self.write_until_a_disk_refuses(pathlib.Path(os.environ["SKEIN_FOLDER"]) / "node-6/log")

        self.assertGreater(len(self.acknowledged()), before)
        before = len(self.acknowledged())
        time.sleep(2)
        self.assertGreater(len(self.acknowledged()), before + 5)
        now = status()
        self.assertEqual([n["name"] for n in now["nodes"] if not n["answers"]], ["node-6"])
        self.assertRegex(now["problems"][0]["what"], "node-6 is down; it ended itself: .*disk_free_bytes=0")
        net("heal", "all")
        self.end_writers()
        wait_until_equal()
        self.assert_nothing_lost()
