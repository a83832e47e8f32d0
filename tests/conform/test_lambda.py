"""Lambda through boto3 and the AWS CLI: the life of a function, invocations, documented errors."""
import base64
import io
import json
import os
import subprocess
import tempfile
import unittest
import uuid
import zipfile

import boto3
import botocore.config
import botocore.exceptions

ENDPOINT = os.environ["SKEIN_ENDPOINT"]
ROLE = "arn:aws:iam::000000000000:role/conform"


def client(service, region="us-east-1"):
    return boto3.client(service, endpoint_url=ENDPOINT, region_name=region,
                        config=botocore.config.Config(read_timeout=60))


def package(**files):
    """A zip archive: package(**{"app.py": "text"})."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as z:
        for name, text in files.items():
            z.writestr(name, text)
    return archive.getvalue()


def aws(*words, check=True):
    done = subprocess.run(["aws", "--endpoint-url", ENDPOINT, *words], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "AWS_PAGER": "", "AWS_DEFAULT_REGION": "us-east-1"}, check=False)
    if check and done.returncode != 0:
        raise AssertionError(done.stderr)
    return done


class LambdaCase(unittest.TestCase):
    def setUp(self):
        self.lambda_ = client("lambda")
        self.made = []

    def tearDown(self):
        for name in self.made:
            try:
                self.lambda_.delete_function(FunctionName=name)
            except self.lambda_.exceptions.ResourceNotFoundException:
                pass

    def create(self, text, **members):
        name = "conform-" + uuid.uuid4().hex[:12]
        arguments = {"FunctionName": name, "Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler",
                     "Code": {"ZipFile": package(**{"app.py": text})}, **members}
        self.lambda_.create_function(**arguments)
        self.made.append(name)
        return name

    def invoke(self, name, payload=b"{}", **members):
        answer = self.lambda_.invoke(FunctionName=name, Payload=payload, **members)
        return answer, answer["Payload"].read()

    def assert_refused(self, code, call, **arguments):
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            call(**arguments)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)
        return caught.exception.response["Error"]["Message"]


ECHO = "def handler(event, context):\n    return {'event': event, 'id': context.aws_request_id}\n"


class Life(LambdaCase):
    def test_create_get_update_list_delete(self):
        name = self.create(ECHO, Timeout=7, Environment={"Variables": {"COLOR": "blue"}})
        self.lambda_.get_waiter("function_active_v2").wait(FunctionName=name)
        got = self.lambda_.get_function(FunctionName=name)["Configuration"]
        self.assertEqual((got["Timeout"], got["MemorySize"], got["Runtime"]), (7, 128, "python3.11"))
        self.assertEqual(got["Environment"]["Variables"], {"COLOR": "blue"})
        self.assertEqual(got["FunctionArn"], f"arn:aws:lambda:us-east-1:000000000000:function:{name}")

        changed = self.lambda_.update_function_configuration(FunctionName=name, MemorySize=256)
        self.assertEqual((changed["Timeout"], changed["MemorySize"]), (7, 256))
        self.assertNotEqual(changed["RevisionId"], got["RevisionId"])
        self.assertEqual(changed["CodeSha256"], got["CodeSha256"])
        self.assert_refused("PreconditionFailedException", self.lambda_.update_function_configuration,
                            FunctionName=name, MemorySize=512, RevisionId=got["RevisionId"])

        names = [f["FunctionName"] for page in self.lambda_.get_paginator("list_functions").paginate(
            PaginationConfig={"PageSize": 1}) for f in page["Functions"]]
        self.assertIn(name, names)
        self.assertEqual(names, sorted(set(names)))

        self.lambda_.delete_function(FunctionName=name)
        self.assert_refused("ResourceNotFoundException", self.lambda_.get_function, FunctionName=name)
        self.assert_refused("ResourceNotFoundException", self.lambda_.invoke, FunctionName=name)

    def test_seen_from_every_region(self):
        name = self.create(ECHO)
        for region in ("us-east-1", "eu-west-1", "ap-southeast-1"):
            arn = client("lambda", region).get_function(FunctionName=name)["Configuration"]["FunctionArn"]
            self.assertEqual(arn, f"arn:aws:lambda:{region}:000000000000:function:{name}")

    def test_names_and_arns(self):
        name = self.create(ECHO)
        for form in (name, name + ":$LATEST", "000000000000:function:" + name,
                     f"arn:aws:lambda:eu-west-1:123456789012:function:{name}"):
            self.assertEqual(self.invoke(form)[0]["StatusCode"], 200)
        self.assert_refused("ResourceNotFoundException", self.lambda_.invoke, FunctionName=name, Qualifier="7")

    def test_update_code_is_used_by_the_next_call(self):
        name = self.create("def handler(event, context): return 'old'")
        self.assertEqual(self.invoke(name)[1], b'"old"')
        self.lambda_.update_function_code(
            FunctionName=name, ZipFile=package(**{"app.py": "def handler(event, context): return 'new'"}))
        self.assertEqual(self.invoke(name)[1], b'"new"')

    def test_a_package_of_several_chunks(self):
        noise = base64.b64encode(os.urandom(3 << 20)).decode()
        name = self.create("import data\ndef handler(event, context): return len(data.NOISE)",
                           Code={"ZipFile": package(**{"app.py": "import data\ndef handler(event, context): "
                                                                 "return len(data.NOISE)",
                                                       "data.py": f"NOISE = '{noise}'"})})
        self.assertEqual(json.loads(self.invoke(name)[1]), len(noise))

    def test_bad_requests(self):
        good = {"Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler",
                "Code": {"ZipFile": package(**{"app.py": ECHO})}}
        name = self.create(ECHO)
        create = self.lambda_.create_function
        self.assertEqual(self.assert_refused("ResourceConflictException", create, FunctionName=name, **good),
                         f"Function already exist: {name}")
        for code, members in (
                ("InvalidParameterValueException", {"Runtime": "cobol"}),
                ("InvalidParameterValueException", {"Code": {"ZipFile": b"no zip"}}),
                ("InvalidParameterValueException", {"Code": {"ZipFile": package(**{"../x": "y"})}}),
                ("InvalidParameterValueException", {"Environment": {"Variables": {"AWS_REGION": "x"}}}),
                ("InvalidParameterValueException", {"Environment": {"Variables": {"LONG": "x" * 5000}}}),
                ("ValidationException", {"Role": "nobody-at-all-here"}),
                ("ValidationException", {"Timeout": 901}),
                ("ValidationException", {"MemorySize": 10241})):
            self.assert_refused(code, create, FunctionName="conform-bad", **{**good, **members})
        self.assert_refused("ResourceNotFoundException", self.lambda_.get_function, FunctionName="conform-bad")


class Versions(LambdaCase):
    def test_versions_and_aliases(self):
        text = "def handler(event, context): return [%r, context.function_version, context.invoked_function_arn]"
        name = self.create(text % "one")
        first = self.lambda_.publish_version(FunctionName=name)
        self.assertEqual(first["Version"], "1")
        self.lambda_.update_function_code(FunctionName=name, ZipFile=package(**{"app.py": text % "two"}), Publish=True)
        arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
        self.assertEqual(json.loads(self.invoke(name)[1]), ["two", "$LATEST", arn])
        self.assertEqual(json.loads(self.invoke(name, Qualifier="1")[1]), ["one", "1", arn + ":1"])
        alias = self.lambda_.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        answer, result = self.invoke(name, Qualifier="live")
        self.assertEqual(json.loads(result), ["one", "1", arn + ":live"])
        self.assertEqual(answer["ExecutedVersion"], "1")
        self.lambda_.update_alias(FunctionName=name, Name="live",
                                  RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
        ran = {self.invoke(name + ":live")[0]["ExecutedVersion"] for _ in range(40)}
        self.assertEqual(ran, {"1", "2"})
        self.assert_refused("PreconditionFailedException", self.lambda_.update_alias, FunctionName=name, Name="live",
                            FunctionVersion="2", RevisionId=alias["RevisionId"])
        self.assert_refused("ResourceConflictException", self.lambda_.delete_function, FunctionName=name,
                            Qualifier="2")
        listed = json.loads(aws("lambda", "list-aliases", "--function-name", name).stdout)["Aliases"]
        self.assertEqual([a["Name"] for a in listed], ["live"])
        versions = [v["Version"] for page in self.lambda_.get_paginator("list_versions_by_function").paginate(
            FunctionName=name, PaginationConfig={"PageSize": 1}) for v in page["Versions"]]
        self.assertEqual(versions, ["$LATEST", "1", "2"])
        self.lambda_.delete_alias(FunctionName=name, Name="live")
        self.lambda_.delete_function(FunctionName=name, Qualifier="1")
        self.assert_refused("ResourceNotFoundException", self.lambda_.invoke, FunctionName=name, Qualifier="1")
        self.assertEqual(json.loads(self.invoke(name, Qualifier="2")[1])[0], "two")


class Invocations(LambdaCase):
    def test_payload_and_result(self):
        name = self.create(ECHO)
        payload = {"text": "M\u00fcller", "number": 12345678901234567890, "list": [None, True, 1.5]}
        answer, result = self.invoke(name, json.dumps(payload).encode())
        self.assertEqual(json.loads(result)["event"], payload)
        self.assertEqual((answer["StatusCode"], answer["ExecutedVersion"]), (200, "$LATEST"))
        self.assertNotIn("FunctionError", answer)
        self.assertEqual(json.loads(self.invoke(name, b"")[1])["event"], {})

    def test_function_raises(self):
        name = self.create("def handler(event, context): return event['missing']")
        answer, result = self.invoke(name)
        self.assertEqual((answer["StatusCode"], answer["FunctionError"]), (200, "Unhandled"))
        self.assertEqual(json.loads(result)["errorType"], "KeyError")

    def test_function_takes_too_long(self):
        name = self.create("import time\ndef handler(event, context): time.sleep(30)", Timeout=1)
        answer, result = self.invoke(name)
        self.assertEqual(answer["FunctionError"], "Unhandled")
        self.assertIn("Task timed out after 1.00 seconds", json.loads(result)["errorMessage"])

    def test_handler_is_missing(self):
        name = self.create("def other(event, context): pass")
        answer, result = self.invoke(name)
        self.assertEqual(answer["FunctionError"], "Unhandled")
        self.assertIn("handler", json.loads(result)["errorMessage"])

    def test_log_tail(self):
        name = self.create("def handler(event, context): print('said this')")
        answer, _ = self.invoke(name, LogType="Tail")
        log = base64.b64decode(answer["LogResult"]).decode()
        self.assertIn("said this", log)
        self.assertIn("REPORT RequestId:", log)

    def test_dry_run_runs_nothing(self):
        name = self.create("raise SystemExit(1)")
        self.assertEqual(self.invoke(name, InvocationType="DryRun")[0]["StatusCode"], 204)
        self.assert_refused("InvalidParameterValueException", self.lambda_.invoke, FunctionName=name,
                            InvocationType="Later")

    def test_bad_payloads(self):
        name = self.create(ECHO)
        self.assert_refused("InvalidRequestContentException", self.lambda_.invoke, FunctionName=name,
                            Payload=b"{no json")
        self.assert_refused("RequestTooLargeException", self.lambda_.invoke, FunctionName=name,
                            Payload=b'"' + b"x" * (6 << 20) + b'"')

    def test_the_command_line(self):
        with tempfile.TemporaryDirectory() as folder:
            zip_path, out_path = os.path.join(folder, "f.zip"), os.path.join(folder, "out.json")
            with open(zip_path, "wb") as f:
                f.write(package(**{"app.py": ECHO}))
            name = "conform-cli-" + uuid.uuid4().hex[:8]
            aws("lambda", "create-function", "--function-name", name, "--runtime", "python3.9", "--role", ROLE,
                "--handler", "app.handler", "--zip-file", "fileb://" + zip_path)
            self.made.append(name)
            aws("lambda", "wait", "function-active-v2", "--function-name", name)
            done = aws("lambda", "invoke", "--function-name", name, "--cli-binary-format", "raw-in-base64-out",
                       "--payload", '{"a": 1}', out_path)
            self.assertEqual(json.loads(done.stdout)["StatusCode"], 200)
            with open(out_path, encoding="utf-8") as f:
                self.assertEqual(json.load(f)["event"], {"a": 1})
            aws("lambda", "delete-function", "--function-name", name)
            self.assertIn("ResourceNotFoundException",
                          aws("lambda", "get-function", "--function-name", name, check=False).stderr)


if __name__ == "__main__":
    unittest.main()
