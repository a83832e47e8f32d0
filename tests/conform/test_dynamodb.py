"""DynamoDB with its real client: what programs do all day, and the faults they rely on.

Needs SKEIN_ENDPOINT and AWS keys in the environment (tests/conform/run.py sets them)."""
import os
import threading
import time
import unittest
import uuid
from decimal import Decimal

import boto3
from boto3.dynamodb.conditions import Attr, Key
from boto3.dynamodb.types import Binary
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT = os.environ.get("SKEIN_ENDPOINT") or os.environ["AWS_ENDPOINT_URL"]
REGIONS = ("us-east-1", "eu-west-1", "ap-southeast-1")
OPTIONS = {"endpoint_url": ENDPOINT,
           "config": Config(parameter_validation=False, retries={"mode": "standard", "max_attempts": 10})}


def client(region=REGIONS[0]):
    return boto3.client("dynamodb", region_name=region, **OPTIONS)


def unique(prefix):
    return prefix + uuid.uuid4().hex[:10]


def eventually(check, seconds=10):
    """Wait for what replication brings; gives the last value."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(0.02)


class Tables(unittest.TestCase):
    """One table with a hash key, one with a sort key, for every class below."""

    @classmethod
    def setUpClass(cls):
        cls.db = client()
        cls.resource = boto3.resource("dynamodb", region_name=REGIONS[0], **OPTIONS)
        cls.orders = cls.make("Orders", [("order_id", "S")])
        cls.lines = cls.make("Lines", [("order_id", "S"), ("line", "N")])

    @classmethod
    def tearDownClass(cls):
        for table in (cls.orders, cls.lines):
            table.delete()

    @classmethod
    def make(cls, prefix, keys):
        return cls.resource.create_table(
            TableName=unique(prefix), BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t in keys],
            KeySchema=[{"AttributeName": n, "KeyType": k} for (n, _), k in zip(keys, ("HASH", "RANGE"))])

    def refused(self, code, text, call, **arguments):
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)
        self.assertIn(text, caught.exception.response["Error"]["Message"])
        return caught.exception.response


class TableManagement(Tables):
    def test_create_describe_list_delete(self):
        name = unique("Made")
        made = self.db.create_table(
            TableName=name, AttributeDefinitions=[{"AttributeName": "a", "AttributeType": "S"},
                                                  {"AttributeName": "unused", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "a", "KeyType": "HASH"}],
            ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 6})["TableDescription"]
        self.assertEqual(made["TableArn"], f"arn:aws:dynamodb:us-east-1:000000000000:table/{name}")
        self.db.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
        found = self.db.describe_table(TableName=name)["Table"]
        self.assertEqual(found["TableStatus"], "ACTIVE")
        self.assertEqual(found["TableId"], made["TableId"])
        self.assertEqual(len(found["AttributeDefinitions"]), 2)
        self.assertIn(name, [n for page in self.db.get_paginator("list_tables").paginate(Limit=1)
                             for n in page["TableNames"]])
        for region in REGIONS:
            self.assertEqual(client(region).describe_table(TableName=name)["Table"]["TableId"], made["TableId"])
        self.refused("ResourceInUseException", f"Table already exists: {name}", self.db.create_table,
                     TableName=name, BillingMode="PAY_PER_REQUEST",
                     AttributeDefinitions=[{"AttributeName": "a", "AttributeType": "S"}],
                     KeySchema=[{"AttributeName": "a", "KeyType": "HASH"}])
        self.db.put_item(TableName=name, Item={"a": {"S": "x"}})
        self.db.delete_table(TableName=name)
        self.db.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
        self.refused("ResourceNotFoundException", f"Requested resource not found: Table: {name} not found",
                     self.db.describe_table, TableName=name)
        self.refused("ResourceNotFoundException", "Requested resource not found", self.db.get_item,
                     TableName=name, Key={"a": {"S": "x"}})

    def test_same_name_again_is_empty(self):
        table = self.make("Again", [("a", "S")])
        table.put_item(Item={"a": "x"})
        table.delete()
        again = self.resource.create_table(
            TableName=table.name, BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "a", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "a", "KeyType": "HASH"}])
        self.assertEqual(again.scan(ConsistentRead=True)["Items"], [])
        again.delete()

    def test_tags_and_limits(self):
        arn = self.db.describe_table(TableName=self.orders.name)["Table"]["TableArn"]
        self.db.tag_resource(ResourceArn=arn, Tags=[{"Key": "team", "Value": "shop"}])
        self.assertEqual(self.db.list_tags_of_resource(ResourceArn=arn)["Tags"], [{"Key": "team", "Value": "shop"}])
        self.db.untag_resource(ResourceArn=arn, TagKeys=["team"])
        self.assertEqual(self.db.list_tags_of_resource(ResourceArn=arn)["Tags"], [])
        self.assertIn("TableMaxReadCapacityUnits", self.db.describe_limits())

    def test_time_to_live_is_kept(self):
        ttl = {"AttributeName": "ends", "Enabled": True}
        self.db.update_time_to_live(TableName=self.orders.name, TimeToLiveSpecification=ttl)
        self.assertEqual(self.db.describe_time_to_live(TableName=self.orders.name)["TimeToLiveDescription"],
                         {"TimeToLiveStatus": "ENABLED", "AttributeName": "ends"})
        self.refused("ValidationException", "TimeToLive is already enabled", self.db.update_time_to_live,
                     TableName=self.orders.name, TimeToLiveSpecification=ttl)
        self.db.update_time_to_live(TableName=self.orders.name, TimeToLiveSpecification={**ttl, "Enabled": False})


class Items(Tables):
    def test_every_type(self):
        item = {"order_id": unique("o"), "n": Decimal("-12.5"), "big": Decimal("9" * 38), "b": Binary(b"\x00\xff"),
                "t": True, "f": False, "z": None, "l": ["a", Decimal(1), {"x": []}], "m": {"é": {"k": "v"}},
                "ss": {"a", "b"}, "ns": {Decimal(1), Decimal("2.5")}, "bs": {Binary(b"1"), Binary(b"")}, "e": ""}
        self.orders.put_item(Item=item)
        found = self.orders.get_item(Key={"order_id": item["order_id"]}, ConsistentRead=True)["Item"]
        self.assertEqual(found, item)

    def test_absent_is_no_item(self):
        self.assertNotIn("Item", self.orders.get_item(Key={"order_id": unique("none")}))
        self.orders.delete_item(Key={"order_id": unique("none")})

    def test_every_region_reads_it(self):
        key = {"order_id": {"S": unique("o")}}
        self.db.put_item(TableName=self.orders.name, Item={**key, "v": {"S": "here"}})
        for region in REGIONS:
            db = client(region)
            strong = db.get_item(TableName=self.orders.name, Key=key, ConsistentRead=True)
            self.assertEqual(strong["Item"]["v"], {"S": "here"}, region)
            self.assertTrue(eventually(lambda: "Item" in db.get_item(TableName=self.orders.name, Key=key)), region)

    def test_returns(self):
        key = {"order_id": unique("o")}
        self.assertNotIn("Attributes", self.orders.put_item(Item={**key, "v": 1}, ReturnValues="ALL_OLD"))
        self.assertEqual(self.orders.put_item(Item={**key, "v": 2}, ReturnValues="ALL_OLD")["Attributes"],
                         {**key, "v": 1})
        self.assertEqual(self.orders.delete_item(Key=key, ReturnValues="ALL_OLD")["Attributes"], {**key, "v": 2})

    def test_capacity(self):
        key = {"order_id": unique("o")}
        put = self.orders.put_item(Item={**key, "v": "x" * 2000}, ReturnConsumedCapacity="TOTAL")
        self.assertEqual(put["ConsumedCapacity"], {"TableName": self.orders.name, "CapacityUnits": 2.0})
        get = self.orders.get_item(Key=key, ReturnConsumedCapacity="TOTAL")
        self.assertEqual(get["ConsumedCapacity"]["CapacityUnits"], 0.5)

    def test_faults(self):
        put = self.db.put_item
        table = self.orders.name
        for text, item in (
                ("Missing the key order_id in the item", {"a": {"S": "x"}}),
                ("Type mismatch for key order_id expected: S actual: N", {"order_id": {"N": "1"}}),
                ("cannot contain an empty string value. Key: order_id", {"order_id": {"S": ""}}),
                ("Supplied AttributeValue is empty", {"order_id": {"S": "a"}, "b": {}}),
                ("cannot be converted to a numeric value: x", {"order_id": {"S": "a"}, "b": {"N": "x"}}),
                ("more than 38 significant digits", {"order_id": {"S": "a"}, "b": {"N": "1" * 39}}),
                ("An string set  may not be empty", {"order_id": {"S": "a"}, "b": {"SS": []}}),
                ("Input collection [a, a] contains duplicates.", {"order_id": {"S": "a"}, "b": {"SS": ["a", "a"]}}),
                ("Item size has exceeded the maximum allowed size", {"order_id": {"S": "a"}, "b": {"S": "x" * 410000}})):
            with self.subTest(text):
                self.refused("ValidationException", text, put, TableName=table, Item=item)
        self.refused("ValidationException", "1 validation error detected: Value null at 'tableName' failed to satisfy "
                     "constraint: Member must not be null", put, Item={})
        self.refused("ValidationException", "The provided key element does not match the schema", self.db.get_item,
                     TableName=table, Key={"wrong": {"S": "x"}})
        self.refused("ResourceNotFoundException", "Requested resource not found", put,
                     TableName=unique("None"), Item={"order_id": {"S": "a"}})


class Conditions(Tables):
    def test_if_absent_once(self):
        item = {"order_id": unique("o"), "by": "first"}
        self.orders.put_item(Item=item, ConditionExpression=Attr("order_id").not_exists())
        more = {}
        if "ReturnValuesOnConditionCheckFailure" in self.db.meta.service_model.operation_model(
                "PutItem").input_shape.members:  # boto3 learned of it in 1.28
            more["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        answer = self.refused("ConditionalCheckFailedException", "The conditional request failed",
                              self.db.put_item, TableName=self.orders.name,
                              Item={"order_id": {"S": item["order_id"]}, "by": {"S": "second"}},
                              ConditionExpression="attribute_not_exists(order_id)", **more)
        if more:
            self.assertEqual(answer["Item"]["by"], {"S": "first"})
        self.assertEqual(self.orders.get_item(Key={"order_id": item["order_id"]}, ConsistentRead=True)["Item"], item)

    def test_one_of_many_wins(self):
        key = unique("race")
        won = []

        def run(me):
            try:
                boto3.resource("dynamodb", region_name=REGIONS[me % 3], **OPTIONS).Table(self.orders.name).put_item(
                    Item={"order_id": key, "by": me}, ConditionExpression="attribute_not_exists(order_id)")
                won.append(me)
            except ClientError as e:
                self.assertEqual(e.response["Error"]["Code"], "ConditionalCheckFailedException")

        threads = [threading.Thread(target=run, args=(i,)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(won), 1)
        self.assertEqual(self.orders.get_item(Key={"order_id": key}, ConsistentRead=True)["Item"]["by"], won[0])

    def test_builders(self):
        key = {"order_id": unique("o")}
        self.orders.put_item(Item={**key, "n": 5, "s": "book", "l": ["a"], "m": {"k": 1}})
        for condition, holds in (
                (Attr("n").between(1, 9) & Attr("s").begins_with("bo"), True),
                (Attr("n").eq(6) | Attr("missing").not_exists(), True),
                (~Attr("n").gt(4), False),
                (Attr("s").is_in(["x", "book"]) & (Attr("l").contains("a") | Attr("n").lt(0)), True),
                (Attr("m.k").ne(1), False),
                (Attr("s").size().gte(5), False),
                (Attr("n").attribute_type("N"), True)):
            with self.subTest(str(condition.get_expression())):
                try:
                    self.orders.put_item(Item={**key, "n": 5, "s": "book", "l": ["a"], "m": {"k": 1}},
                                         ConditionExpression=condition)
                    held = True
                except ClientError as e:
                    self.assertEqual(e.response["Error"]["Code"], "ConditionalCheckFailedException")
                    held = False
                self.assertEqual(held, holds)


class Legacy(Tables):
    """What came before expressions: clients of old SDKs still send it."""

    def test_updates_and_expected(self):
        table, key = self.orders.name, {"order_id": {"S": unique("o")}}
        after = self.db.update_item(
            TableName=table, Key=key, ReturnValues="ALL_NEW",
            AttributeUpdates={"n": {"Action": "ADD", "Value": {"N": "2"}}, "s": {"Value": {"SS": ["a", "b"]}},
                              "l": {"Action": "ADD", "Value": {"L": [{"S": "x"}]}}})["Attributes"]
        self.assertEqual((after["n"], after["l"]), ({"N": "2"}, {"L": [{"S": "x"}]}))
        after = self.db.update_item(
            TableName=table, Key=key, ReturnValues="UPDATED_NEW",
            AttributeUpdates={"s": {"Action": "DELETE", "Value": {"SS": ["a"]}}, "l": {"Action": "DELETE"}},
            Expected={"n": {"ComparisonOperator": "IN", "AttributeValueList": [{"N": "1"}, {"N": "2.0"}]},
                      "none": {"Exists": False}})["Attributes"]
        self.assertEqual(after, {"s": {"SS": ["b"]}})
        self.refused("ConditionalCheckFailedException", "", self.db.put_item, TableName=table, Item=key,
                     Expected={"n": {"Value": {"N": "9"}}, "s": {"ComparisonOperator": "NULL"}},
                     ConditionalOperator="OR")
        self.refused("ValidationException", "Can not use both expression and non-expression parameters in the same "
                     "request: Non-expression parameters: {Expected} Expression parameters: {ConditionExpression}",
                     self.db.delete_item, TableName=table, Key=key, Expected={"a": {"Exists": False}},
                     ConditionExpression="attribute_exists(a)")

    def test_query_and_scan(self):
        order = unique("o")
        with self.lines.batch_writer() as batch:
            for line in range(6):
                batch.put_item(Item={"order_id": order, "line": line, "tag": "even" if line % 2 == 0 else "odd"})
        found = self.db.query(
            TableName=self.lines.name, ConsistentRead=True, AttributesToGet=["line"],
            KeyConditions={"order_id": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": order}]},
                           "line": {"ComparisonOperator": "GE", "AttributeValueList": [{"N": "2"}]}},
            QueryFilter={"tag": {"ComparisonOperator": "BEGINS_WITH", "AttributeValueList": [{"S": "ev"}]}})
        self.assertEqual(found["Items"], [{"line": {"N": "2"}}, {"line": {"N": "4"}}])
        self.assertEqual((found["Count"], found["ScannedCount"]), (2, 4))
        found = self.db.scan(
            TableName=self.lines.name, ConsistentRead=True, Select="COUNT", ConditionalOperator="AND",
            ScanFilter={"order_id": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": order}]},
                        "tag": {"ComparisonOperator": "NE", "AttributeValueList": [{"S": "odd"}]}})
        self.assertEqual(found["Count"], 3)


class LocalIndexes(Tables):
    def test_strong_in_every_region(self):
        name = unique("Indexed")
        self.db.create_table(
            TableName=name, BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "user", "AttributeType": "S"},
                                  {"AttributeName": "order", "AttributeType": "S"},
                                  {"AttributeName": "amount", "AttributeType": "N"}],
            KeySchema=[{"AttributeName": "user", "KeyType": "HASH"}, {"AttributeName": "order", "KeyType": "RANGE"}],
            LocalSecondaryIndexes=[{"IndexName": "by_total", "Projection": {"ProjectionType": "KEYS_ONLY"},
                                    "KeySchema": [{"AttributeName": "user", "KeyType": "HASH"},
                                                  {"AttributeName": "amount", "KeyType": "RANGE"}]}])
        table = self.resource.Table(name)
        self.assertEqual(table.local_secondary_indexes[0]["IndexName"], "by_total")
        for order, total in (("a", 30), ("b", 4), ("c", 12)):
            table.put_item(Item={"user": "u", "order": order, "amount": total, "note": "x"})
        table.put_item(Item={"user": "u", "order": "d"})
        table.update_item(Key={"user": "u", "order": "a"}, UpdateExpression="SET amount = :t",
                          ExpressionAttributeValues={":t": 1})
        for region in REGIONS:
            there = boto3.resource("dynamodb", region_name=region, **OPTIONS).Table(name)
            found = there.query(IndexName="by_total", ConsistentRead=True, KeyConditionExpression=Key("user").eq("u"),
                                ScanIndexForward=False, Limit=2)
            self.assertEqual([item["order"] for item in found["Items"]], ["c", "b"], region)
            self.assertNotIn("note", found["Items"][0])
            rest = there.query(IndexName="by_total", ConsistentRead=True, KeyConditionExpression=Key("user").eq("u"),
                               ScanIndexForward=False, ExclusiveStartKey=found["LastEvaluatedKey"],
                               Select="ALL_ATTRIBUTES")
            self.assertEqual([(item["order"], item["note"]) for item in rest["Items"]], [("a", "x")], region)
        metrics = self.db.put_item(TableName=name, Item={"user": {"S": "u"}, "order": {"S": "e"}},
                                   ReturnItemCollectionMetrics="SIZE")["ItemCollectionMetrics"]
        self.assertEqual(metrics["ItemCollectionKey"], {"user": {"S": "u"}})
        table.delete()


class Updates(Tables):
    def update(self, key, **arguments):
        return self.orders.update_item(Key=key, **arguments)

    def test_set_remove_add_delete(self):
        key = {"order_id": unique("o")}
        self.update(key, UpdateExpression="SET #s = :new, trail = :empty, n = if_not_exists(n, :zero) + :one",
                    ExpressionAttributeNames={"#s": "status"},
                    ExpressionAttributeValues={":new": "NEW", ":empty": [], ":zero": 0, ":one": 1})
        after = self.update(key, UpdateExpression="SET trail = list_append(trail, :e) ADD n :two, tags :t REMOVE nothing",
                            ExpressionAttributeValues={":e": ["paid"], ":two": 2, ":t": {"a", "b"}},
                            ReturnValues="ALL_NEW")["Attributes"]
        self.assertEqual(after, {**key, "status": "NEW", "trail": ["paid"], "n": 3, "tags": {"a", "b"}})
        after = self.update(key, UpdateExpression="DELETE tags :a SET m = :m", ReturnValues="UPDATED_NEW",
                            ExpressionAttributeValues={":a": {"a"}, ":m": {"x": {"y": 1}}})["Attributes"]
        self.assertEqual(after, {"tags": {"b"}, "m": {"x": {"y": 1}}})
        after = self.update(key, UpdateExpression="SET m.x.z = m.x.y REMOVE trail[0]", ReturnValues="ALL_NEW")["Attributes"]
        self.assertEqual((after["m"], after["trail"]), ({"x": {"y": 1, "z": 1}}, []))

    def test_counter_by_many(self):
        key = {"order_id": unique("counter")}

        def run(region):
            table = boto3.resource("dynamodb", region_name=region, **OPTIONS).Table(self.orders.name)
            for _ in range(20):
                table.update_item(Key=key, UpdateExpression="ADD n :one", ExpressionAttributeValues={":one": 1})

        threads = [threading.Thread(target=run, args=(region,)) for region in REGIONS * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.orders.get_item(Key=key, ConsistentRead=True)["Item"]["n"], 120)

    def test_faults(self):
        key = {"order_id": {"S": unique("o")}}
        table = self.orders.name
        one = {":x": {"N": "1"}}
        for text, expression in (
                ("The provided expression refers to an attribute that does not exist in the item", "SET a = b + :x"),
                ("The document path provided in the update expression is invalid for update", "SET a.b = :x"),
                ("Two document paths overlap with each other", "SET a = :x REMOVE a.b"),
                ("reserved keyword: status", "SET status = :x"),
                ("This attribute is part of the key", "SET order_id = :x"),
                ("Syntax error; token: \"a\", near: \"FROM a :x\"", "DELETE FROM a :x")):
            with self.subTest(expression):
                self.refused("ValidationException", text, self.db.update_item, TableName=table, Key=key,
                             UpdateExpression=expression, ExpressionAttributeValues=one)


class Ranges(Tables):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls.lines.batch_writer() as batch:
            for order in "abc":
                for line in range(-5, 20):
                    batch.put_item(Item={"order_id": order, "line": line, "odd": line % 2 == 1})
        with cls.orders.batch_writer() as batch:
            for i in range(100):
                batch.put_item(Item={"order_id": f"o{i}", "n": i, "pad": "x" * 20000})

    def test_query(self):
        def lines(**arguments):
            found = self.lines.query(ConsistentRead=True, **arguments)
            return [int(item["line"]) for item in found["Items"]]

        a = Key("order_id").eq("a")
        self.assertEqual(lines(KeyConditionExpression=a), list(range(-5, 20)))
        self.assertEqual(lines(KeyConditionExpression=a, ScanIndexForward=False, Limit=3), [19, 18, 17])
        self.assertEqual(lines(KeyConditionExpression=a & Key("line").between(-2, 2)), [-2, -1, 0, 1, 2])
        self.assertEqual(lines(KeyConditionExpression=a & Key("line").lt(-3)), [-5, -4])
        self.assertEqual(lines(KeyConditionExpression=a & Key("line").gte(18)), [18, 19])
        self.assertEqual(lines(KeyConditionExpression=a & Key("line").gt(15), FilterExpression=Attr("odd").eq(True)),
                         [17, 19])

    def test_query_pages(self):
        pages = list(self.db.get_paginator("query").paginate(
            TableName=self.lines.name, KeyConditionExpression="order_id = :o", ConsistentRead=True, Limit=4,
            ExpressionAttributeValues={":o": {"S": "b"}}))
        self.assertEqual([int(i["line"]["N"]) for page in pages for i in page["Items"]], list(range(-5, 20)))
        self.assertEqual(len(pages), 7)

    def test_scan_pages_by_size(self):
        pages = list(self.db.get_paginator("scan").paginate(TableName=self.orders.name, ConsistentRead=True))
        self.assertEqual(sorted(int(i["n"]["N"]) for page in pages for i in page["Items"]), list(range(100)))
        self.assertGreater(len(pages), 1)

    def test_scan_segments_filter_projection_count(self):
        seen = []
        for segment in range(4):
            for page in self.db.get_paginator("scan").paginate(
                    TableName=self.orders.name, ConsistentRead=True, Segment=segment, TotalSegments=4, Limit=9,
                    FilterExpression="n >= :n", ProjectionExpression="n",
                    ExpressionAttributeValues={":n": {"N": "50"}}):
                for item in page["Items"]:
                    self.assertEqual(list(item), ["n"])
                    seen.append(int(item["n"]["N"]))
        self.assertEqual(sorted(seen), list(range(50, 100)))
        pages = self.db.get_paginator("scan").paginate(TableName=self.lines.name, ConsistentRead=True, Select="COUNT")
        self.assertEqual(sum(page["Count"] for page in pages), 75)

    def test_batches(self):
        found = self.db.batch_get_item(RequestItems={
            self.orders.name: {"Keys": [{"order_id": {"S": f"o{i}"}} for i in (1, 2, 1000)], "ConsistentRead": True,
                               "ProjectionExpression": "n"},
            self.lines.name: {"Keys": [{"order_id": {"S": "a"}, "line": {"N": "3"}}], "ConsistentRead": True}})
        self.assertEqual(sorted(i["n"]["N"] for i in found["Responses"][self.orders.name]), ["1", "2"])
        self.assertEqual(len(found["Responses"][self.lines.name]), 1)
        self.assertEqual(found["UnprocessedKeys"], {})
        self.refused("ValidationException", "Provided list of item keys contains duplicates", self.db.batch_write_item,
                     RequestItems={self.orders.name: [{"DeleteRequest": {"Key": {"order_id": {"S": "q"}}}}] * 2})
        self.refused("ValidationException", "Query condition missed key schema element: order_id", self.db.query,
                     TableName=self.lines.name, KeyConditionExpression="line = :l",
                     ExpressionAttributeValues={":l": {"N": "1"}})


if __name__ == "__main__":
    unittest.main()
