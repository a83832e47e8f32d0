"""Global secondary indexes with the real client: made, filled, read, removed; equal to their table in the end whatever
is killed meanwhile."""
import json
import subprocess
import threading
import time
import unittest
from decimal import Decimal

from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError

import test_dynamodb
from test_dynamodb import client, eventually, unique

SKEIN = test_dynamodb.os.environ.get("SKEIN")
FOLDER = test_dynamodb.os.environ.get("SKEIN_FOLDER")
UNITS = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}


def definitions(**types):
    return [{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()]


def keys(*names):
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"))]


def index(name, *names, projection="ALL", included=None, units=None):
    found = {"IndexName": name, "KeySchema": keys(*names), "Projection": {"ProjectionType": projection}}
    if included is not None:
        found["Projection"]["NonKeyAttributes"] = included
    if units is not None:
        found["ProvisionedThroughput"] = units
    return found


class Indexed(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.db = client()
        cls.resource = test_dynamodb.boto3.resource("dynamodb", region_name=test_dynamodb.REGIONS[0],
                                                    **test_dynamodb.OPTIONS)
        cls.made = []

    @classmethod
    def tearDownClass(cls):
        for table in cls.made:
            table.delete()

    @classmethod
    def make(cls, types, table_keys, indexes):
        made = cls.resource.create_table(
            TableName=unique("Gsi"), BillingMode="PAY_PER_REQUEST", AttributeDefinitions=definitions(**types),
            KeySchema=keys(*table_keys), **({"GlobalSecondaryIndexes": indexes} if indexes else {}))
        cls.made.append(made)
        return made

    def refused(self, code, text, call, **arguments):
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        error = caught.exception.response["Error"]
        self.assertEqual((code, text), (error["Code"], error["Message"]))

    def shows(self, call, wanted, **arguments):
        """The index gives these items in the end, in this order."""
        if not eventually(lambda: call(**arguments)["Items"] == wanted):
            self.assertEqual(call(**arguments)["Items"], wanted)


class Queries(Indexed):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.table = cls.make(
            {"id": "S", "line": "N", "owner": "S", "at": "N"}, ("id", "line"),
            [index("byOwner", "owner", "at"), index("ownersOnly", "owner", projection="KEYS_ONLY"),
             index("withNote", "at", projection="INCLUDE", included=["note", "owner"])])

    def test_hash_and_range(self):
        items = [{"id": f"h{n}", "line": Decimal(1), "owner": "ann", "at": Decimal(n), "note": "x" * n}
                 for n in range(1, 8)]
        for item in items:
            self.table.put_item(Item=item)
        query = self.table.query
        condition = Key("owner").eq("ann")
        self.shows(query, items, IndexName="byOwner", KeyConditionExpression=condition)
        self.shows(query, items[::-1], IndexName="byOwner", KeyConditionExpression=condition, ScanIndexForward=False)
        self.shows(query, items[2:5], IndexName="byOwner", KeyConditionExpression=condition & Key("at").between(3, 5))
        self.shows(query, items[5:], IndexName="byOwner", KeyConditionExpression=condition & Key("at").gt(5))
        self.shows(query, items[3:4], IndexName="byOwner", KeyConditionExpression=condition,
                   FilterExpression=Attr("note").eq("xxxx"))
        self.assertEqual(query(IndexName="byOwner", KeyConditionExpression=condition, Select="COUNT")["Count"], 7)

    def test_same_key_pages(self):
        wanted = {(f"s{n}", n % 3) for n in range(20)}
        for id_, line in wanted:
            self.table.put_item(Item={"id": id_, "line": line, "owner": "bob", "at": 7})
        call = {"IndexName": "byOwner", "KeyConditionExpression": Key("owner").eq("bob") & Key("at").eq(7), "Limit": 3}
        self.assertTrue(eventually(lambda: self.table.query(**{**call, "Limit": 100})["Count"] == 20))
        for forward in (True, False):
            seen, start = [], {}
            while True:
                page = self.table.query(**call, **start, ScanIndexForward=forward)
                seen += [(item["id"], int(item["line"])) for item in page["Items"]]
                if "LastEvaluatedKey" not in page:
                    break
                self.assertEqual(set(page["LastEvaluatedKey"]), {"id", "line", "owner", "at"})
                start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
            self.assertEqual(len(seen), 20)
            self.assertEqual(set(seen), wanted)

    def test_changes_move_rows_and_sparse(self):
        key = {"id": "move", "line": 1}
        at = lambda owner: {"IndexName": "ownersOnly", "KeyConditionExpression": Key("owner").eq(owner)}
        self.table.put_item(Item={**key, "owner": "carl"})
        self.shows(self.table.query, [{**key, "owner": "carl"}], **at("carl"))
        self.table.update_item(Key=key, UpdateExpression="SET #o = :o, note = :n",
                               ExpressionAttributeNames={"#o": "owner"},
                               ExpressionAttributeValues={":o": "dora", ":n": "unseen"})
        self.shows(self.table.query, [{**key, "owner": "dora"}], **at("dora"))
        self.shows(self.table.query, [], **at("carl"))
        self.table.update_item(Key=key, UpdateExpression="REMOVE #o", ExpressionAttributeNames={"#o": "owner"})
        self.shows(self.table.query, [], **at("dora"))
        self.table.put_item(Item={**key, "owner": "dora"})
        self.shows(self.table.query, [{**key, "owner": "dora"}], **at("dora"))
        self.table.delete_item(Key=key)
        self.shows(self.table.query, [], **at("dora"))

    def test_transactions_tell_the_index(self):
        rows = [{"id": f"t{n}", "line": Decimal(n), "owner": "tess", "at": Decimal(n)} for n in range(4)]
        name, client_ = self.table.name, self.table.meta.client
        call = {"IndexName": "byOwner", "KeyConditionExpression": Key("owner").eq("tess")}
        client_.transact_write_items(TransactItems=[{"Put": {"TableName": name, "Item": row}} for row in rows])
        self.shows(self.table.query, rows, **call)
        client_.transact_write_items(TransactItems=[
            {"Delete": {"TableName": name, "Key": {"id": "t0", "line": 0}}},
            {"Update": {"TableName": name, "Key": {"id": "t1", "line": 1}, "UpdateExpression": "SET #o = :o",
                        "ExpressionAttributeNames": {"#o": "owner"}, "ExpressionAttributeValues": {":o": "theo"}}}])
        self.shows(self.table.query, rows[2:], **call)

    def test_projections(self):
        item = {"id": "p", "line": 1, "owner": "eve", "at": 4711, "note": "n", "more": "m"}
        self.table.put_item(Item=item)
        by_owner, by_at = Key("owner").eq("eve"), Key("at").eq(4711)
        self.shows(self.table.query, [item], IndexName="byOwner", KeyConditionExpression=by_owner)
        self.shows(self.table.query, [{k: item[k] for k in ("id", "line", "owner")}], IndexName="ownersOnly",
                   KeyConditionExpression=by_owner)
        self.shows(self.table.query, [{k: v for k, v in item.items() if k != "more"}], IndexName="withNote",
                   KeyConditionExpression=by_at)
        self.shows(self.table.query, [{"note": "n"}], IndexName="withNote", KeyConditionExpression=by_at,
                   ProjectionExpression="note")
        self.refused("ValidationException", "One or more parameter values were invalid: Select type ALL_ATTRIBUTES is "
                     "not supported for global secondary index withNote because its projection type is not ALL",
                     self.table.query, IndexName="withNote", KeyConditionExpression=by_at, Select="ALL_ATTRIBUTES")
        self.refused("ValidationException", "One or more parameter values were invalid: Global secondary index "
                     "withNote does not project [more]", self.table.query, IndexName="withNote",
                     KeyConditionExpression=by_at, ProjectionExpression="note, more")
        self.refused("ValidationException", "Consistent reads are not supported on global secondary indexes",
                     self.table.query, IndexName="withNote", KeyConditionExpression=by_at, ConsistentRead=True)
        self.refused("ValidationException", "Consistent reads are not supported on global secondary indexes",
                     self.table.scan, IndexName="withNote", ConsistentRead=True)
        self.refused("ValidationException", "The table does not have the specified index: none",
                     self.table.query, IndexName="none", KeyConditionExpression=by_at)

    def test_scan_with_segments(self):
        for n in range(30):
            self.table.put_item(Item={"id": f"scan{n}", "line": 0, "at": 90000 + n})
        mine = lambda: {item["id"] for segment in range(3) for item in self.table.scan(
            IndexName="withNote", Segment=segment, TotalSegments=3)["Items"] if item["id"].startswith("scan")}
        self.assertTrue(eventually(lambda: mine() == {f"scan{n}" for n in range(30)}), mine())

    def test_bad_keys(self):
        refused = lambda text, **item: self.refused("ValidationException", text, self.table.put_item,
                                                    Item={"id": "b", "line": 1, **item})
        refused("One or more parameter values were invalid: Type mismatch for Index Key owner Expected: S Actual: N "
                "IndexName: byOwner", owner=1)
        refused("One or more parameter values are not valid. A value specified for a secondary index key is not "
                "supported. The AttributeValue for a key attribute cannot contain an empty string value. IndexName: "
                "byOwner, IndexKey: owner", owner="")
        refused("One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 "
                "bytes", owner="o" * 2049)
        self.refused("ValidationException", "The update expression attempted to update the secondary index key to "
                     "unsupported type", self.table.update_item, Key={"id": "b", "line": 1},
                     UpdateExpression="SET #o = :o", ExpressionAttributeNames={"#o": "owner"},
                     ExpressionAttributeValues={":o": 5})
        self.assertNotIn("Item", self.table.get_item(Key={"id": "b", "line": 1}, ConsistentRead=True))

    def test_capacity(self):
        item = {"id": "c", "line": 1, "owner": "fay", "at": 1, "note": "n" * 3000}
        made = self.table.put_item(Item=item, ReturnConsumedCapacity="INDEXES")["ConsumedCapacity"]
        self.assertEqual(made["Table"], {"CapacityUnits": 3.0})
        self.assertEqual(made["GlobalSecondaryIndexes"], {
            "byOwner": {"CapacityUnits": 3.0}, "ownersOnly": {"CapacityUnits": 1.0},
            "withNote": {"CapacityUnits": 3.0}})
        self.assertEqual(made["CapacityUnits"], 10.0)
        call = {"IndexName": "byOwner", "KeyConditionExpression": Key("owner").eq("fay")}
        self.shows(self.table.query, [item], **call)
        read = self.table.query(**call, ReturnConsumedCapacity="INDEXES")["ConsumedCapacity"]
        self.assertEqual(read["GlobalSecondaryIndexes"], {"byOwner": {"CapacityUnits": 0.5}})
        self.assertEqual((read["CapacityUnits"], read["Table"]), (0.5, {"CapacityUnits": 0.0}))


class Definitions(Indexed):
    def create(self, types, table_keys=("id",), **more):
        return {"TableName": unique("Bad"), "AttributeDefinitions": definitions(**types), "KeySchema": keys(*table_keys),
                "BillingMode": "PAY_PER_REQUEST", **more}

    def test_create_is_validated(self):
        invalid = "One or more parameter values were invalid: "
        two = {"id": "S", "a": "S"}
        for text, arguments in (
                (invalid + "List of GlobalSecondaryIndexes is empty", self.create({"id": "S"}, GlobalSecondaryIndexes=[])),
                (invalid + "Some index key attributes are not defined in AttributeDefinitions. Keys: [a, b], "
                 "AttributeDefinitions: [id, a]", self.create(two, GlobalSecondaryIndexes=[index("abc", "a", "b")])),
                ("Both the Hash Key and the Range Key element in the KeySchema have the same name",
                 self.create(two, GlobalSecondaryIndexes=[index("abc", "a", "a")])),
                (invalid + "ProjectionType is ALL, but NonKeyAttributes is specified",
                 self.create(two, GlobalSecondaryIndexes=[index("abc", "a", included=["x"])])),
                (invalid + "ProjectionType is INCLUDE, but NonKeyAttributes is not specified",
                 self.create(two, GlobalSecondaryIndexes=[index("abc", "a", projection="INCLUDE")])),
                (invalid + "Duplicate index name: abc",
                 self.create(two, GlobalSecondaryIndexes=[index("abc", "a"), index("abc", "a")])),
                (invalid + "ProvisionedThroughput should not be specified for index: abc when BillingMode is "
                 "PAY_PER_REQUEST", self.create(two, GlobalSecondaryIndexes=[index("abc", "a", units=UNITS)])),
                (invalid + "ProvisionedThroughput is not specified for index: abc",
                 self.create(two, GlobalSecondaryIndexes=[index("abc", "a")], BillingMode="PROVISIONED",
                             ProvisionedThroughput=UNITS)),
                (invalid + "GlobalSecondaryIndex count exceeds the per-table limit of 20",
                 self.create(two, GlobalSecondaryIndexes=[index(f"abc{n}", "a") for n in range(21)])),
                (invalid + "Some AttributeDefinitions are not used. AttributeDefinitions: [id, a, b], keys used: [id, a]",
                 self.create({**two, "b": "S"}, GlobalSecondaryIndexes=[index("abc", "a")]))):
            with self.subTest(text):
                self.refused("ValidationException", text, self.db.create_table, **arguments)

    def test_described(self):
        table = self.make({"id": "S", "a": "S", "b": "N"}, ("id",),
                          [index("one", "a", "b", projection="INCLUDE", included=["x"]), index("two", "b")])
        found = self.db.describe_table(TableName=table.name)["Table"]["GlobalSecondaryIndexes"]
        arn = self.db.describe_table(TableName=table.name)["Table"]["TableArn"]
        self.assertEqual(found[0], {
            "IndexName": "one", "IndexArn": arn + "/index/one", "IndexStatus": "ACTIVE", "KeySchema": keys("a", "b"),
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"]}, "ItemCount": 0, "IndexSizeBytes": 0,
            "ProvisionedThroughput": {"NumberOfDecreasesToday": 0, "ReadCapacityUnits": 0, "WriteCapacityUnits": 0}})
        self.assertEqual(found[1]["KeySchema"], keys("b"))

    def update(self, table, *updates, **more):
        return self.db.update_table(TableName=table.name, GlobalSecondaryIndexUpdates=list(updates), **more)

    def indexes(self, table):
        found = self.db.describe_table(TableName=table.name)["Table"].get("GlobalSecondaryIndexes", [])
        return {one["IndexName"]: one for one in found}

    def test_update_is_validated(self):
        table = self.make({"id": "S", "a": "S"}, ("id",), [index("abc", "a")])
        invalid = "One or more parameter values were invalid: "
        create = {"Create": index("new", "a")}
        once = test_dynamodb.boto3.client(  # some of these are retried
            "dynamodb", region_name=test_dynamodb.REGIONS[0], endpoint_url=test_dynamodb.ENDPOINT,
            config=test_dynamodb.Config(parameter_validation=False, retries={"total_max_attempts": 1}))
        for code, text, updates, more in (
                ("ValidationException", invalid + "One of GlobalSecondaryIndexUpdate.Update, "
                 "GlobalSecondaryIndexUpdate.Create, GlobalSecondaryIndexUpdate.Delete must not be null", [{}], {}),
                ("ValidationException", invalid + "Only one global secondary index update per index is allowed "
                 "simultaneously. Index: abc", [{"Delete": {"IndexName": "abc"}}, {"Delete": {"IndexName": "abc"}}], {}),
                ("LimitExceededException", "Subscriber limit exceeded: Only 1 online index can be created or deleted "
                 "simultaneously per table", [create, {"Delete": {"IndexName": "abc"}}], {}),
                ("ValidationException", "Attempting to create an index which already exists",
                 [{"Create": index("abc", "a")}], {}),
                ("ResourceNotFoundException", "Requested resource not found", [{"Delete": {"IndexName": "none"}}], {}),
                ("ValidationException", invalid + "AttributeDefinitions is not specified for index: new", [create], {}),
                ("ValidationException", invalid + "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified "
                 "for index: abc when BillingMode is PAY_PER_REQUEST",
                 [{"Update": {"IndexName": "abc", "ProvisionedThroughput": UNITS}}], {})):
            with self.subTest(text):
                self.refused(code, text, once.update_table, TableName=table.name, GlobalSecondaryIndexUpdates=updates,
                             **more)

    def test_throughput(self):
        table = self.resource.create_table(
            TableName=unique("Gsi"), AttributeDefinitions=definitions(id="S", a="S"), KeySchema=keys("id"),
            ProvisionedThroughput=UNITS, GlobalSecondaryIndexes=[index("abc", "a", units=UNITS)])
        self.made.append(table)
        more = {"ReadCapacityUnits": 3, "WriteCapacityUnits": 4}
        self.update(table, {"Update": {"IndexName": "abc", "ProvisionedThroughput": more}})
        found = self.indexes(table)["abc"]["ProvisionedThroughput"]
        self.assertEqual({k: found[k] for k in more}, more)

    def test_made_and_removed_while_writing(self):
        table = self.make({"id": "S"}, ("id",), None)
        with table.batch_writer() as batch:
            for n in range(1500):
                batch.put_item(Item={"id": f"old{n}", "a": f"group{n % 7}", "b": "x"})
        table.put_item(Item={"id": "other type", "a": 5})
        table.put_item(Item={"id": "not in it"})
        stop, wrong = threading.Event(), []

        def write():
            n = 0
            while not stop.is_set():
                try:
                    table.put_item(Item={"id": f"new{n}", "a": f"group{n % 7}"})
                    table.put_item(Item={"id": f"old{n}", "a": f"moved{n % 3}"})
                    table.delete_item(Key={"id": f"old{1499 - n}"})
                except ClientError as error:
                    wrong.append(error)
                n += 1

        writer = threading.Thread(target=write)
        writer.start()
        made = self.update(table, {"Create": index("late", "a", projection="KEYS_ONLY")},
                           AttributeDefinitions=definitions(id="S", a="S"))["TableDescription"]
        self.assertEqual(made["TableStatus"], "UPDATING")
        self.assertEqual(made["GlobalSecondaryIndexes"][0]["IndexStatus"], "CREATING")
        self.assertTrue(eventually(lambda: self.indexes(table)["late"]["IndexStatus"] == "ACTIVE", 60))
        stop.set()
        writer.join()
        self.assertEqual(wrong, [])
        self.same(table, "late", "a")
        gone = self.update(table, {"Delete": {"IndexName": "late"}})["TableDescription"]
        self.assertEqual(gone["GlobalSecondaryIndexes"][0]["IndexStatus"], "DELETING")
        self.refused("ValidationException", "The table does not have the specified index: late", table.scan,
                     IndexName="late")
        self.assertTrue(eventually(lambda: "late" not in self.indexes(table), 60))
        found = self.db.describe_table(TableName=table.name)["Table"]
        self.assertEqual(found["AttributeDefinitions"], definitions(id="S"))
        table.put_item(Item={"id": "fits again", "a": 5})

    def rows(self, table, **more):
        found, start = [], {}
        while True:
            page = table.scan(**more, **start)
            found += page["Items"]
            if "LastEvaluatedKey" not in page:
                return found
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def same(self, table, name, key, seconds=30):
        """The index has exactly the table's items that have its key."""
        def difference():
            items = {(item["id"], item[key]) for item in self.rows(table, ConsistentRead=True)
                     if isinstance(item.get(key), str)}
            rows = [(item["id"], item[key]) for item in self.rows(table, IndexName=name)]
            return sorted(items ^ set(rows)) + ([len(rows)] if len(rows) != len(set(rows)) else [])
        eventually(lambda: not difference(), seconds)
        self.assertEqual(difference(), [])

    @unittest.skipUnless(SKEIN, "needs a cluster of its own")
    def test_leaders_are_killed_while_writing(self):
        table = self.make({"id": "S", "a": "S"}, ("id",), [index("byA", "a")])
        stop, written = threading.Event(), [0, 0, 0]

        def write(who):
            n = 0
            while not stop.is_set():
                try:
                    table.update_item(Key={"id": f"{who}-{n % 40}"}, UpdateExpression="SET a = :a, n = :n",
                                      ExpressionAttributeValues={":a": f"v{n * 7 % 11}", ":n": n})
                    if n % 5 == 0:
                        table.delete_item(Key={"id": f"{who}-{n * 3 % 40}"})
                    written[who] += 1
                except ClientError:
                    pass
                n += 1

        writers = [threading.Thread(target=write, args=(who,)) for who in range(3)]
        for writer in writers:
            writer.start()
        nodes = [node["name"] for node in json.loads(self.skein("--json", "status"))["nodes"]]
        for node in nodes[:2]:
            time.sleep(0.7)
            self.skein("kill", node)
            time.sleep(0.7)
            self.skein("start", node)
        stop.set()
        for writer in writers:
            writer.join()
        self.assertGreater(min(written), 10)
        self.same(table, "byA", "a")
        exact = {item["id"]: item for item in self.rows(table, ConsistentRead=True)}
        # A node that was just started may still read older rows.
        self.assertTrue(eventually(
            lambda: {item["id"]: item for item in self.rows(table, IndexName="byA")} == exact, 30))

    def skein(self, *words):
        return subprocess.run([SKEIN, "--data", FOLDER, *words], check=True, capture_output=True, text=True,
                              timeout=120).stdout


if __name__ == "__main__":
    unittest.main()
