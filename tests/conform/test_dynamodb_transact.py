"""TransactWriteItems and TransactGetItems with their real client: every error in the service's words, tokens, and a
bank whose leaders are killed while it works."""
import json
import os
import random
import subprocess
import tempfile
import threading
import time
import unittest
import uuid
import warnings

from botocore.exceptions import ClientError

from test_dynamodb import Tables, client, unique

SKEIN = [os.environ["SKEIN"], "--data", os.environ["SKEIN_FOLDER"]]
CHECK = os.path.join(os.path.dirname(os.environ["SKEIN"]), "skein-check")
CANCELLED = "Transaction cancelled, please refer cancellation reasons for specific reasons [%s]"


def skein(*words, check=True):
    return subprocess.run(SKEIN + list(words), check=check, capture_output=True, text=True, timeout=120)


class Transactions(Tables):
    """Actions on numbered items of one table, of every test its own."""

    def setUp(self):
        warnings.simplefilter("ignore", ResourceWarning)  # clients of threads that ended
        self.id = unique("t")

    def key(self, number=0):
        return {"order_id": {"S": f"{self.id}-{number}"}}

    def put(self, number, condition=None, **attributes):
        action = {"TableName": self.orders.name,
                  "Item": {**self.key(number), **{k: {"N": str(v)} for k, v in attributes.items()}}}
        return {"Put": {**action, "ConditionExpression": condition} if condition else action}

    def update(self, number, expression="SET n = if_not_exists(n, :zero) + :one", **more):
        values = {":zero": {"N": "0"}, ":one": {"N": "1"}} if ":one" in expression else {}
        action = {"TableName": self.orders.name, "Key": self.key(number), "UpdateExpression": expression, **more}
        return {"Update": {**action, "ExpressionAttributeValues": values} if values else action}

    def check(self, number, condition, **more):
        return {"ConditionCheck": {"TableName": self.orders.name, "Key": self.key(number),
                                   "ConditionExpression": condition, **more}}

    def delete(self, number, **more):
        return {"Delete": {"TableName": self.orders.name, "Key": self.key(number), **more}}

    def get(self, number):
        return self.db.get_item(TableName=self.orders.name, Key=self.key(number), ConsistentRead=True).get("Item")

    def n(self, number):
        item = self.get(number)
        return item and int(item["n"]["N"])

    def write(self, *actions, **more):
        return self.db.transact_write_items(TransactItems=list(actions), **more)

    def cancelled(self, codes, *actions, **more):
        with self.assertRaises(ClientError) as caught:
            self.write(*actions, **more)
        response = caught.exception.response
        self.assertEqual(response["Error"]["Code"], "TransactionCanceledException", response)
        self.assertEqual(response["Error"]["Message"], CANCELLED % codes)
        self.assertEqual(response["ResponseMetadata"]["HTTPStatusCode"], 400)
        self.assertEqual([reason["Code"] for reason in response["CancellationReasons"]], codes.split(", "))
        return response["CancellationReasons"]


class Writing(Transactions):
    def test_all_kinds_over_many_shards(self):
        self.write(*[self.put(i, n=i) for i in range(8)])
        self.assertEqual(self.write(
            self.put(8, "attribute_not_exists(order_id)", n=8), self.update(1), self.delete(2),
            self.check(3, "attribute_exists(order_id)"), self.update(9),
            {"Put": {"TableName": self.lines.name, "Item": {**self.key(), "line": {"N": "1"}}}}).get("x"), None)
        self.assertEqual([self.n(i) for i in (8, 1, 2, 3, 9)], [8, 2, None, 3, 1])
        self.assertIn("Item", self.db.get_item(TableName=self.lines.name, Key={**self.key(), "line": {"N": "1"}},
                                               ConsistentRead=True))

    def test_a_hundred_actions(self):
        self.write(*[self.put(i, n=i) for i in range(100)])
        found = self.db.transact_get_items(TransactItems=[
            {"Get": {"TableName": self.orders.name, "Key": self.key(i)}} for i in range(100)])["Responses"]
        self.assertEqual([int(r["Item"]["n"]["N"]) for r in found], list(range(100)))

    def test_one_condition_fails_and_nothing_changes(self):
        self.write(*[self.put(i, n=i) for i in range(6)])
        for failing in range(6):
            actions = [self.update(i) for i in range(6)]
            actions[failing] = self.put(failing, "attribute_not_exists(order_id)", n=99)
            codes = ["None"] * 6
            codes[failing] = "ConditionalCheckFailed"
            reasons = self.cancelled(", ".join(codes), *actions)
            self.assertEqual(reasons[failing], {"Code": "ConditionalCheckFailed",
                                                "Message": "The conditional request failed"})
            self.assertEqual(reasons[failing - 1], {"Code": "None"})
        self.assertEqual([self.n(i) for i in range(6)], list(range(6)))

    def test_the_item_that_failed_is_told_when_asked(self):
        self.write(self.put(0, n=5))
        for action in (self.check(0, "n = :v", ExpressionAttributeValues={":v": {"N": "6"}},
                                  ReturnValuesOnConditionCheckFailure="ALL_OLD"),
                       self.delete(0, ConditionExpression="attribute_not_exists(n)",
                                   ReturnValuesOnConditionCheckFailure="ALL_OLD")):
            reasons = self.cancelled("None, ConditionalCheckFailed", self.put(1, n=1), action)
            self.assertEqual(reasons[1]["Item"], {**self.key(0), "n": {"N": "5"}})
        reasons = self.cancelled("ConditionalCheckFailed", self.check(
            7, "attribute_exists(n)", ReturnValuesOnConditionCheckFailure="ALL_OLD"))
        self.assertNotIn("Item", reasons[0])

    def test_what_an_item_does_not_allow_is_a_validation_error(self):
        self.write(self.put(0, n=5), self.put(1, n=1))
        for expression, message in (
                ("SET n = nowhere", "The provided expression refers to an attribute that does not exist in the item"),
                ("SET m.x = n", "The document path provided in the update expression is invalid for update")):
            reasons = self.cancelled("None, ValidationError", self.update(1), self.update(0, expression))
            self.assertEqual(reasons[1]["Message"], message)
        big = {"S": "x" * 300_000}
        self.write({"Put": {"TableName": self.orders.name, "Item": {**self.key(2), "a": big}}})
        reasons = self.cancelled("ValidationError", self.update(
            2, "SET b = :b", ExpressionAttributeValues={":b": {"S": "x" * 200_000}}))
        self.assertEqual(reasons[0]["Message"], "Item size to update has exceeded the maximum allowed size")
        self.assertEqual(self.n(1), 1)

    def test_keys_that_do_not_fit(self):
        self.assertEqual(self.cancelled("ValidationError", {"Put": {
            "TableName": self.orders.name, "Item": {"x": {"S": "1"}}}})[0]["Message"],
            "One or more parameter values were invalid: Missing the key order_id in the item")
        self.assertEqual(self.cancelled("None, ValidationError", self.put(0, n=1), {"Delete": {
            "TableName": self.lines.name, "Key": self.key(0)}})[1]["Message"],
            "The provided key element does not match the schema")
        self.assertEqual(self.cancelled("ValidationError", self.update(0, "REMOVE order_id"))[0]["Message"],
                         "One or more parameter values were invalid: Cannot update attribute order_id. "
                         "This attribute is part of the key")
        self.assertIsNone(self.get(0))

    def test_requests_that_make_no_sense(self):
        write = self.db.transact_write_items
        self.refused("ValidationException", "Transaction request cannot include multiple operations on one item",
                     write, TransactItems=[self.put(0, n=1), self.check(0, "attribute_exists(n)")])
        self.refused("ValidationException", "TransactItems can only contain one of Check, Put, Update or Delete",
                     write, TransactItems=[{**self.put(0, n=1), **self.update(1)}])
        self.refused("ValidationException", "should contain Delete or Put or Update", write, TransactItems=[{}])
        self.refused("ValidationException", "Member must have length less than or equal to 100", write,
                     TransactItems=[self.put(i, n=1) for i in range(101)])
        self.refused("ValidationException", "Member must have length greater than or equal to 1", write,
                     TransactItems=[])
        self.refused("ValidationException", "Member must have length less than or equal to 36", write,
                     TransactItems=[self.put(0, n=1)], ClientRequestToken="x" * 37)
        self.refused("ValidationException", "transactItems.1.member.conditionCheck.conditionExpression", write,
                     TransactItems=[{"ConditionCheck": {"TableName": self.orders.name, "Key": self.key(0)}}])
        self.refused("ValidationException", "Invalid ConditionExpression: Syntax error", write,
                     TransactItems=[self.put(0, "n = = n", n=1)])
        self.refused("ValidationException", "Value provided in ExpressionAttributeValues unused in expressions: "
                     "keys: {:v}", write, TransactItems=[self.check(0, "attribute_exists(n)", ExpressionAttributeValues={
                         ":v": {"N": "1"}})])
        self.refused("ResourceNotFoundException", "Requested resource not found", write,
                     TransactItems=[{"Put": {"TableName": unique("none"), "Item": self.key(0)}}])
        self.refused("ValidationException", "4 MB", write, TransactItems=[
            {"Put": {"TableName": self.orders.name, "Item": {**self.key(i), "a": {"S": "x" * 390_000}}}}
            for i in range(11)])
        self.assertIsNone(self.get(0))

    def test_capacity_is_doubled(self):
        self.write(self.put(0, n=1))
        for level in ("TOTAL", "INDEXES"):
            consumed = self.write(self.update(0), self.put(1, n=1), self.check(2, "attribute_not_exists(n)"), {
                "Put": {"TableName": self.lines.name, "Item": {**self.key(), "line": {"N": "1"},
                                                               "a": {"S": "x" * 1500}}}},
                ReturnConsumedCapacity=level)["ConsumedCapacity"]
            self.assertEqual([(c["TableName"], c["CapacityUnits"], c["WriteCapacityUnits"]) for c in consumed],
                             [(self.orders.name, 6.0, 6.0), (self.lines.name, 4.0, 4.0)])
            self.assertEqual("Table" in consumed[0], level == "INDEXES")
        self.assertNotIn("ConsumedCapacity", self.write(self.update(0)))


class Tokens(Transactions):
    def test_the_same_again_takes_effect_once(self):
        for actions in ([self.update(0)], [self.update(i) for i in range(1, 7)]):
            token = uuid.uuid4().hex
            for i in range(3):
                answer = self.write(*actions, ClientRequestToken=token, ReturnConsumedCapacity="TOTAL")
                self.assertIn("ReadCapacityUnits" if i else "WriteCapacityUnits", answer["ConsumedCapacity"][0])
        self.assertEqual([self.n(i) for i in range(7)], [1] * 7)

    def test_other_parameters_are_a_mismatch(self):
        for actions in ([self.update(0)], [self.update(i) for i in range(1, 7)]):
            token = uuid.uuid4().hex
            self.write(*actions, ClientRequestToken=token)
            for others in ([self.update(20)], [self.put(0, n=1)], [self.update(i) for i in range(30, 36)]):
                self.refused("IdempotentParameterMismatchException", "different payload", self.db.transact_write_items,
                             TransactItems=others, ClientRequestToken=token)
        self.assertIsNone(self.get(20))
        self.assertIsNone(self.get(30))

    def test_done_once_its_conditions_do_not_matter_again(self):
        for numbers in ((0,), (1, 2, 3, 4, 5)):
            actions = [self.put(i, "attribute_not_exists(order_id)", n=i) for i in numbers]
            token = uuid.uuid4().hex
            self.write(*actions, ClientRequestToken=token)
            self.write(*actions, ClientRequestToken=token)
            self.cancelled(", ".join(["ConditionalCheckFailed"] * len(numbers)), *actions)

    def test_cancelled_it_may_be_tried_again(self):
        for numbers in ((0,), (1, 2, 3, 4, 5)):
            actions = [self.update(i, ConditionExpression="attribute_exists(ready)") if i == numbers[0] else
                       self.update(i) for i in numbers]
            token = uuid.uuid4().hex
            codes = ", ".join(["ConditionalCheckFailed"] + ["None"] * (len(numbers) - 1))
            self.cancelled(codes, *actions, ClientRequestToken=token)
            self.write({"Update": {"TableName": self.orders.name, "Key": self.key(numbers[0]),
                                   "UpdateExpression": "SET ready = :t",
                                   "ExpressionAttributeValues": {":t": {"BOOL": True}}}})
            self.write(*actions, ClientRequestToken=token)
            self.write(*actions, ClientRequestToken=token)
            self.assertEqual([self.n(i) for i in numbers], [1] * len(numbers))

    def test_many_at_once_with_one_token(self):
        token = uuid.uuid4().hex
        faults = []

        def run():
            try:
                client().transact_write_items(TransactItems=[self.update(i) for i in range(5)],
                                              ClientRequestToken=token)
            except ClientError as e:
                faults.append(e.response["Error"]["Code"])

        threads = [threading.Thread(target=run) for _ in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertLessEqual(set(faults), {"TransactionInProgressException"})
        self.assertEqual([self.n(i) for i in range(5)], [1] * 5)


class Reading(Transactions):
    def read(self, *gets, **more):
        return self.db.transact_get_items(TransactItems=[{"Get": get} for get in gets], **more)

    def of(self, number, **more):
        return {"TableName": self.orders.name, "Key": self.key(number), **more}

    def test_items_in_order_and_missing_ones_empty(self):
        self.write(*[self.put(i, n=i) for i in range(5)])
        found = self.read(self.of(4), self.of(9), self.of(0, ProjectionExpression="#n", ExpressionAttributeNames={
            "#n": "n"}), {"TableName": self.lines.name, "Key": {**self.key(), "line": {"N": "1"}}})
        self.assertEqual(found["Responses"], [{"Item": {**self.key(4), "n": {"N": "4"}}}, {},
                                              {"Item": {"n": {"N": "0"}}}, {}])
        consumed = self.read(self.of(4), self.of(9), ReturnConsumedCapacity="TOTAL")["ConsumedCapacity"]
        self.assertEqual(consumed, [{"TableName": self.orders.name, "CapacityUnits": 4.0, "ReadCapacityUnits": 4.0}])

    def test_requests_that_make_no_sense(self):
        read = self.db.transact_get_items
        self.refused("ValidationException", "Transaction request cannot include multiple operations on one item", read,
                     TransactItems=[{"Get": self.of(0)}, {"Get": self.of(0)}])
        self.refused("ValidationException", "Member must have length less than or equal to 100", read,
                     TransactItems=[{"Get": self.of(i)} for i in range(101)])
        self.refused("ValidationException", "Invalid ProjectionExpression", read,
                     TransactItems=[{"Get": self.of(0, ProjectionExpression="a..b")}])
        self.refused("ResourceNotFoundException", "Requested resource not found", read,
                     TransactItems=[{"Get": {"TableName": unique("none"), "Key": self.key(0)}}])
        with self.assertRaises(ClientError) as caught:
            self.read(self.of(0), {"TableName": self.lines.name, "Key": self.key(0)})
        self.assertEqual(caught.exception.response["Error"]["Message"], CANCELLED % "None, ValidationError")
        self.assertEqual(caught.exception.response["CancellationReasons"][1]["Message"],
                         "The provided key element does not match the schema")


class Beside(Transactions):
    def test_ordinary_writes_beside_transactions(self):
        """Both count on the same items; what is acknowledged is counted once, whoever waited for whom."""
        counted = [0] * 4
        lock = threading.Lock()

        def run(seed):
            rng = random.Random(seed)
            db = client()
            for _ in range(25):
                numbers = rng.sample(range(4), 2) if seed % 2 else [rng.randrange(4)]
                try:
                    if seed % 2:
                        db.transact_write_items(TransactItems=[self.update(i) for i in numbers])
                    else:
                        db.update_item(**self.update(numbers[0])["Update"])
                except ClientError as e:
                    self.assertIn(e.response["Error"]["Code"],
                                  ("TransactionConflictException", "TransactionCanceledException"))
                    continue
                with lock:
                    for i in numbers:
                        counted[i] += 1

        threads = [threading.Thread(target=run, args=(seed,)) for seed in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual([self.n(i) for i in range(4)], counted)
        self.assertGreater(sum(counted), 100)


class Bank(Transactions):
    ACCOUNTS = 6
    BALANCE = 100
    SECONDS = 8
    KILLS = 3

    def setUp(self):
        super().setUp()
        self.lock = threading.Lock()
        self.history = []
        self.faults = []
        self.ends = False

    def log(self, process, kind, function, value=None, **more):
        with self.lock:
            self.history.append({"p": process, "t": kind, "f": function, "v": value, **more})

    def ask(self, process, function, value, call):
        """One operation and what became of it, in the words of skein-check."""
        self.log(process, "invoke", function, value)
        try:
            self.log(process, "ok", function, call())
        except ClientError as e:
            codes = {r["Code"] for r in e.response.get("CancellationReasons", [])}
            if "ConditionalCheckFailed" in codes:
                self.log(process, "fail", function, value)
            elif codes:
                self.log(process, "fail", function, value, error=str(codes))
            else:
                self.log(process, "info", function, value, error=str(e))
        except Exception as e:  # no answer
            self.log(process, "info", function, value, error=str(e))

    def transfer(self, db, source, target, amount):
        def change(number, sign, **more):
            return {"Update": {"TableName": self.orders.name, "Key": self.key(number),
                               "UpdateExpression": f"SET n = n {sign} :a",
                               "ExpressionAttributeValues": {":a": {"N": str(amount)}}, **more}}

        db.transact_write_items(TransactItems=[change(source, "-", ConditionExpression="n >= :a"), change(target, "+")])
        return {"from": str(source), "to": str(target), "amount": amount}

    def balances(self, db):
        found = db.transact_get_items(TransactItems=[
            {"Get": {"TableName": self.orders.name, "Key": self.key(i)}} for i in range(self.ACCOUNTS)])["Responses"]
        balances = {str(i): int(r["Item"]["n"]["N"]) for i, r in enumerate(found)}
        if sum(balances.values()) != self.ACCOUNTS * self.BALANCE:
            self.faults.append(balances)
        return balances

    def run_client(self, process):
        rng = random.Random(process)
        db = client(random.Random(process).choice(("us-east-1", "eu-west-1", "ap-southeast-1")))
        while not self.ends:
            if rng.random() < 0.3:
                self.ask(process, "read", None, lambda: self.balances(db))
            else:
                source, target = rng.sample(range(self.ACCOUNTS), 2)
                amount = rng.randrange(1, 40)
                self.ask(process, "transfer", {"from": str(source), "to": str(target), "amount": amount},
                         lambda: self.transfer(db, source, target, amount))

    def judge(self):
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.writelines(json.dumps(event) + "\n" for event in self.history)
            file.flush()
            done = subprocess.run([CHECK, "bank", file.name], capture_output=True, text=True, timeout=200)
        return done.returncode, done.stdout + done.stderr

    def test_money_is_neither_made_nor_lost_while_leaders_die(self):
        self.write(*[self.put(i, n=self.BALANCE) for i in range(self.ACCOUNTS)])
        threads = [threading.Thread(target=self.run_client, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        try:
            for _ in range(self.KILLS):
                time.sleep(self.SECONDS / (self.KILLS + 1))
                skein("kill", "leader-of", self.orders.name)
                time.sleep(0.5)
                skein("start", "all")
            time.sleep(self.SECONDS / (self.KILLS + 1))
        finally:
            self.ends = True
            for t in threads:
                t.join()
            skein("start", "all", check=False)

        self.ask("end", "read", None, lambda: self.balances(self.db))
        done = [e for e in self.history if e["t"] == "ok"]
        self.assertEqual(self.faults, [])
        self.assertEqual(done[-1]["p"], "end")
        self.assertGreater(sum(e["f"] == "transfer" for e in done), 50)
        self.assertGreater(sum(e["f"] == "read" for e in done), 20)
        code, verdict = self.judge()
        self.assertEqual(code, 0, verdict)


if __name__ == "__main__":
    unittest.main()
