"""Node.js functions through boto3: every runtime label, both kinds of modules, errors, logs, the AWS endpoint."""
import base64
import json
import os
import subprocess
import unittest
import uuid

from test_lambda import ENDPOINT, ROLE, LambdaCase, client, package

RUNTIMES = ("nodejs18.x", "nodejs20.x", "nodejs22.x")


@unittest.skipUnless(os.access("/usr/bin/node", os.X_OK), "no Node.js on this machine")
class NodeJs(LambdaCase):
    def create_node(self, files, **members):
        return self.create("", Runtime="nodejs20.x", Handler="index.handler", Code={"ZipFile": package(**files)},
                           **members)

    def test_every_runtime_label_and_kind_of_module(self):
        sources = {
            "index.js": "exports.handler = async (event) => ({got: event, env: process.env.AWS_EXECUTION_ENV})",
            "index.mjs": "export const handler = async (event) => ({got: event, env: process.env.AWS_EXECUTION_ENV})",
            "index.cjs": "exports.handler = (event, context, done) => "
                         "done(null, {got: event, env: process.env.AWS_EXECUTION_ENV})"}
        for runtime, (file, source) in zip(RUNTIMES, sources.items()):
            name = self.create("", Runtime=runtime, Handler="index.handler", Code={"ZipFile": package(**{file: source})})
            answer, body = self.invoke(name, b'{"a": [1, null]}')
            self.assertNotIn("FunctionError", answer)
            self.assertEqual(json.loads(body), {"got": {"a": [1, None]}, "env": "AWS_Lambda_" + runtime})

    def test_a_handler_in_a_folder_with_a_module_of_its_own(self):
        name = self.create("", Runtime="nodejs22.x", Handler="src/orders.api.create", Code={"ZipFile": package(**{
            "package.json": '{"type": "module"}',
            "src/orders.js": "import price from 'price'; export const api = {create: async () => price(2)};",
            "node_modules/price/package.json": '{"name": "price", "main": "main.js"}',
            "node_modules/price/main.js": "module.exports = (n) => n * 21;"})})
        self.assertEqual(self.invoke(name)[1], b"42")

    def test_errors_and_log(self):
        name = self.create_node({"index.js": "exports.handler = async (event) => {\n"
                                             "    console.log('working on', event.id);\n"
                                             "    throw new RangeError('no ' + event.id);\n"
                                             "};"})
        answer, body = self.invoke(name, b'{"id": 7}', LogType="Tail")
        log = base64.b64decode(answer["LogResult"]).decode()
        error = json.loads(body)
        self.assertEqual(answer["FunctionError"], "Unhandled")
        self.assertEqual((error["errorType"], error["errorMessage"], error["trace"][0]),
                         ("RangeError", "no 7", "RangeError: no 7"))
        self.assertIn("/var/task/index.js:3:", error["trace"][1])
        request_id = answer["ResponseMetadata"]["RequestId"]
        self.assertRegex(log, r"\d\d\dZ\t" + request_id + "\tINFO\tworking on 7\n")
        self.assertIn("\tERROR\tInvoke Error \t{", log)
        self.assertIn("REPORT RequestId: " + request_id, log)

    def test_init_errors(self):
        for source, kind in (("require('not-there')", "Runtime.ImportModuleError"),
                             ("exports.other = 1", "Runtime.HandlerNotFound"),
                             ("exports.handler = }", "Runtime.UserCodeSyntaxError")):
            _, body = self.invoke(self.create_node({"index.js": source}))
            self.assertEqual(json.loads(body)["errorType"], kind)

    def test_options_for_node_itself(self):
        source = {"index.js": "exports.handler = async () => require('http').maxHeaderSize"}
        self.assertEqual(self.invoke(self.create_node(source))[1], b"16384")
        name = self.create_node(source, Environment={"Variables": {"NODE_OPTIONS": "--max-http-header-size=4096"}},
                                Timeout=10)
        self.assertEqual(self.invoke(name)[1], b"4096")

    def test_tables_through_the_endpoint(self):
        """What an SDK does: a signed request to AWS_ENDPOINT_URL. Signed by hand, so that nothing need be installed."""
        table = "conform-node-" + uuid.uuid4().hex[:8]
        dynamodb = client("dynamodb")
        dynamodb.create_table(TableName=table, BillingMode="PAY_PER_REQUEST",
                              KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                              AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}])
        self.addCleanup(dynamodb.delete_table, TableName=table)
        dynamodb.get_waiter("table_exists").wait(TableName=table)
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "signed_put.mjs"), encoding="utf-8") as file:
            name = self.create_node({"index.mjs": file.read()}, Environment={"Variables": {"TABLE": table}}, Timeout=10)
        answer, body = self.invoke(name, b'{"id": "7"}')
        self.assertEqual((answer.get("FunctionError"), body), (None, b"200"))
        self.assertEqual(dynamodb.get_item(TableName=table, Key={"id": {"S": "7"}}, ConsistentRead=True)["Item"],
                         {"id": {"S": "7"}, "by": {"S": name}})

    def test_sdk_bundled_in_the_package(self):
        """@aws-sdk/client-dynamodb as npm installed it for the tests, if it did."""
        modules = os.environ.get("CONFORM_NODE_MODULES",
                                 os.path.join(os.path.dirname(os.path.abspath(__file__)), "node_modules"))
        if not os.path.isdir(os.path.join(modules, "@aws-sdk", "client-dynamodb")):
            self.skipTest("npm packages are not installed")
        files = {}
        for folder, _, names in os.walk(modules):
            for file in names:
                if file.endswith((".js", ".json", ".mjs", ".cjs")):
                    path = os.path.join(folder, file)
                    with open(path, encoding="utf-8") as text:
                        files[os.path.join("node_modules", os.path.relpath(path, modules))] = text.read()
        files["index.mjs"] = ("import { DynamoDBClient, ListTablesCommand } from '@aws-sdk/client-dynamodb';\n"
                              "const client = new DynamoDBClient();\n"
                              "export const handler = async () => (await client.send(new ListTablesCommand())).$metadata"
                              ".httpStatusCode;\n")
        name = self.create_node(files, Timeout=20, MemorySize=512)
        self.assertEqual(self.invoke(name)[1], b"200")

    def test_skein_status_names_no_missing_runtime(self):
        done = subprocess.run([os.environ["SKEIN"], "--data", os.environ["SKEIN_FOLDER"], "status"],
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertNotIn("cannot run", done.stdout)


if __name__ == "__main__":
    assert ENDPOINT and ROLE
    unittest.main()
