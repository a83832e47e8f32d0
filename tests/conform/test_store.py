"""The article's order path, deployed by the AWS CLI and called over plain HTTP; then the whole store."""
import io
import json
import os
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request
import uuid
import zipfile

import boto3

ENDPOINT = os.environ["SKEIN_ENDPOINT"]
REGIONS = ("us-east-1", "eu-west-1", "ap-southeast-1")
STORE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../deploy/examples/store")

# The article's three documents, letter for letter.
HANDLER = """import json
import boto3

dynamodb = boto3.resource('dynamodb')
orders_table = dynamodb.Table('Orders')

def lambda_handler(event, context):
    order_data = json.loads(event['body'])
    orders_table.put_item(Item=order_data)

    return {
        'statusCode': 200,
        'body': json.dumps({'message': 'Order processed successfully'})
    }
"""
TABLE = """{
  "TableName": "Orders",
  "KeySchema": [{ "AttributeName": "order_id", "KeyType": "HASH" }],
  "AttributeDefinitions": [
    { "AttributeName": "order_id", "AttributeType": "S" },
    { "AttributeName": "user_id", "AttributeType": "S" }
  ],
  "ProvisionedThroughput": {
    "ReadCapacityUnits": 5,
    "WriteCapacityUnits": 5
  }
}
"""
OPENAPI = """{
  "openapi": "3.0.1",
  "info": {
    "title": "E-Commerce API",
    "version": "1.0"
  },
  "paths": {
    "/orders": {
      "post": {
        "x-amazon-apigateway-integration": {
          "httpMethod": "POST",
          "uri": "arn:aws:lambda:us-east-1:123456789012:function:ProcessOrder",
          "type": "AWS_PROXY"
        }
      }
    }
  }
}
"""


def aws(*words, check=True):
    done = subprocess.run(["aws", "--endpoint-url", ENDPOINT, "--output", "json", *words], capture_output=True,
                          text=True, timeout=120, check=False,
                          env={**os.environ, "AWS_PAGER": "", "AWS_DEFAULT_REGION": "us-east-1"})
    if check and done.returncode != 0:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else {}


def call(method, url, document=None, headers=None):
    """Status, headers and JSON body; 5xx and 429 are retried, as SDKs do."""
    body = None if document is None else json.dumps(document).encode()
    for attempt in range(8):
        request = urllib.request.Request(url, data=body, method=method,
                                         headers={"Content-Type": "application/json", **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=40) as answer:
                return answer.status, answer.headers, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
            if status not in (429, 500, 502, 503, 504) or attempt == 7:
                return status, error.headers, json.loads(text or b"null")
        time.sleep(0.1 * 2 ** attempt)
    raise AssertionError("not reached")


def read_back(order_id, region, seconds=10):
    """The order as that region's replica has it, once it has it."""
    table = boto3.resource("dynamodb", endpoint_url=ENDPOINT, region_name=region).Table("Orders")
    end = time.monotonic() + seconds
    while True:
        item = table.get_item(Key={"order_id": order_id}).get("Item")
        if item is not None or time.monotonic() > end:
            return item
        time.sleep(0.05)


class Article(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            def path(name):
                return os.path.join(folder, name)

            archive = io.BytesIO()
            with zipfile.ZipFile(archive, "w") as z:
                z.writestr("order.py", HANDLER)
            for name, content in (("order.zip", archive.getvalue()), ("table.json", TABLE.encode()),
                                  ("api.json", OPENAPI.encode())):
                with open(path(name), "wb") as f:
                    f.write(content)
            aws("dynamodb", "delete-table", "--table-name", "Orders", check=False)
            aws("lambda", "delete-function", "--function-name", "ProcessOrder", check=False)
            aws("dynamodb", "create-table", "--cli-input-json", "file://" + path("table.json"))
            aws("dynamodb", "wait", "table-exists", "--table-name", "Orders")
            aws("lambda", "create-function", "--function-name", "ProcessOrder", "--runtime", "python3.9", "--role",
                "arn:aws:iam::123456789012:role/lambda-role", "--handler", "order.lambda_handler", "--zip-file",
                "fileb://" + path("order.zip"))
            cls.api = aws("apigateway", "import-rest-api", "--body", "fileb://" + path("api.json"))["id"]
            aws("apigateway", "create-deployment", "--rest-api-id", cls.api, "--stage-name", "prod")

    @classmethod
    def tearDownClass(cls):
        aws("apigateway", "delete-rest-api", "--rest-api-id", cls.api)

    def test_an_order_is_processed_and_read_back_in_three_regions(self):
        order = {"order_id": str(uuid.uuid4()), "user_id": "ada", "total_cents": 4200,
                 "items": [{"sku": "sku-1", "quantity": 2}], "note": "M\u00fcller", "gift": False, "coupon": None}
        for url in (f"{ENDPOINT}/restapis/{self.api}/prod/_user_request_/orders",
                    f"{ENDPOINT}/_aws/execute-api/{self.api}/prod/orders"):
            status, headers, body = call("POST", url, order)
            self.assertEqual((status, body), (200, {"message": "Order processed successfully"}))
            self.assertEqual(headers["Content-Type"], "application/json")
        for region in REGIONS:
            self.assertEqual(read_back(order["order_id"], region), order)

    def test_the_host_form(self):
        order = {"order_id": str(uuid.uuid4())}
        status, _, _ = call("POST", f"{ENDPOINT}/prod/orders", order,
                            {"Host": f"{self.api}.execute-api.us-east-1.amazonaws.com"})
        self.assertEqual(status, 200)
        self.assertEqual(read_back(order["order_id"], "us-east-1"), order)

    def test_wrong_paths_and_bodies(self):
        base = f"{ENDPOINT}/restapis/{self.api}/prod/_user_request_"
        for method, path in (("GET", "/orders"), ("POST", "/nothing"), ("POST", "/")):
            status, _, body = call(method, base + path)
            self.assertEqual((status, body), (403, {"message": "Missing Authentication Token"}))
        self.assertEqual(call("POST", f"{ENDPOINT}/restapis/none/prod/_user_request_/orders")[0], 403)
        request = urllib.request.Request(base + "/orders", data=b"no json", method="POST")
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=40)
        self.assertEqual(caught.exception.code, 502)
        self.assertEqual(json.loads(caught.exception.read()), {"message": "Internal server error"})

    def test_the_api_as_the_command_line_sees_it(self):
        resources = aws("apigateway", "get-resources", "--rest-api-id", self.api)["items"]
        self.assertEqual({r["path"]: list(r.get("resourceMethods", {})) for r in resources},
                         {"/": [], "/orders": ["POST"]})
        stages = aws("apigateway", "get-stages", "--rest-api-id", self.api)["item"]
        self.assertEqual([s["stageName"] for s in stages], ["prod"])
        names = {a["id"]: a["name"] for a in aws("apigateway", "get-rest-apis")["items"]}
        self.assertEqual(names[self.api], "E-Commerce API")


class Event(unittest.TestCase):
    """What a function is given, seen through one that answers with it."""

    @classmethod
    def setUpClass(cls):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as z:
            z.writestr("app.py", "import json\ndef handler(event, context):\n"
                                 "    return {'statusCode': '201', 'body': json.dumps(event),\n"
                                 "            'multiValueHeaders': {'Set-Cookie': ['a=1', 'b=2']}}\n")
        cls.lambda_ = boto3.client("lambda", endpoint_url=ENDPOINT, region_name="us-east-1")
        cls.gateway = boto3.client("apigateway", endpoint_url=ENDPOINT, region_name="us-east-1")
        cls.name = "conform-event-" + uuid.uuid4().hex[:8]
        arn = cls.lambda_.create_function(FunctionName=cls.name, Runtime="python3.11", Handler="app.handler",
                                          Role="arn:aws:iam::000000000000:role/r",
                                          Code={"ZipFile": archive.getvalue()})["FunctionArn"]
        # built piece by piece, as infrastructure tools do
        made = cls.gateway.create_rest_api(name=cls.name)
        cls.api = made["id"]
        parent = made.get("rootResourceId") or cls.gateway.get_resources(restApiId=cls.api)["items"][0]["id"]
        for part in ("things", "{id}", "{proxy+}"):
            parent = cls.gateway.create_resource(restApiId=cls.api, parentId=parent, pathPart=part)["id"]
        cls.gateway.put_method(restApiId=cls.api, resourceId=parent, httpMethod="ANY", authorizationType="NONE")
        cls.gateway.put_integration(
            restApiId=cls.api, resourceId=parent, httpMethod="ANY", type="AWS_PROXY", integrationHttpMethod="POST",
            uri=f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations")
        cls.gateway.create_deployment(restApiId=cls.api, stageName="dev", variables={"color": "blue"})

    @classmethod
    def tearDownClass(cls):
        cls.gateway.delete_rest_api(restApiId=cls.api)
        cls.lambda_.delete_function(FunctionName=cls.name)

    def ask(self, method, path, body=None, headers=None):
        request = urllib.request.Request(f"{ENDPOINT}/restapis/{self.api}/dev/_user_request_{path}", data=body,
                                         method=method, headers=headers or {})
        with urllib.request.urlopen(request, timeout=40) as answer:
            return answer, json.loads(answer.read())

    def test_members(self):
        answer, event = self.ask("PUT", "/things/a%20b/x/y?q=1&q=2&empty=", "caf\u00e9".encode(),
                                 {"X-Tag": "t", "Content-Type": "text/plain", "User-Agent": "conform/1"})
        self.assertEqual(answer.status, 201)
        self.assertEqual(answer.headers.get_all("Set-Cookie"), ["a=1", "b=2"])
        self.assertEqual(event["resource"], "/things/{id}/{proxy+}")
        self.assertEqual(event["path"], "/things/a%20b/x/y")
        self.assertEqual(event["httpMethod"], "PUT")
        self.assertEqual(event["pathParameters"], {"id": "a b", "proxy": "x/y"})
        self.assertEqual(event["queryStringParameters"], {"q": "2", "empty": ""})
        self.assertEqual(event["multiValueQueryStringParameters"], {"q": ["1", "2"], "empty": [""]})
        self.assertEqual(event["stageVariables"], {"color": "blue"})
        self.assertEqual((event["body"], event["isBase64Encoded"]), ("caf\u00e9", False))
        self.assertEqual(event["headers"]["X-Tag"], "t")
        self.assertEqual(event["multiValueHeaders"]["X-Tag"], ["t"])
        context = event["requestContext"]
        self.assertEqual((context["apiId"], context["stage"], context["path"]),
                         (self.api, "dev", "/dev/things/a%20b/x/y"))
        self.assertEqual(context["identity"]["userAgent"], "conform/1")
        self.assertEqual(context["requestId"], answer.headers["x-amzn-RequestId"])

    def test_absent_is_null_and_binary_is_base64(self):
        _, event = self.ask("GET", "/things/1/x")
        for member in ("body", "queryStringParameters", "multiValueQueryStringParameters"):
            self.assertIsNone(event[member])
        _, event = self.ask("POST", "/things/1/x", b"\xff\xfe\x00")
        self.assertEqual((event["body"], event["isBase64Encoded"]), ("//4A", True))


class Shop(unittest.TestCase):
    """deploy/examples/store, as a shopper uses it."""

    @classmethod
    def setUpClass(cls):
        done = subprocess.run([os.path.join(STORE, "deploy.sh")], capture_output=True, text=True, timeout=300,
                              check=False, env={**os.environ, "AWS_ENDPOINT_URL": ENDPOINT})
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)
        cls.url = done.stdout.split()[-1]

    def ask(self, method, path, document=None, token=None, **headers):
        if token:
            headers["Authorization"] = "Bearer " + token
        status, _, body = call(method, self.url + path, document,
                               {k.replace("_", "-"): v for k, v in headers.items()})
        return status, body

    def test_from_account_to_order(self):
        account = {"email": f"{uuid.uuid4().hex}@example.org", "password": "correct horse"}
        self.assertEqual(self.ask("POST", "/auth/register", account)[0], 201)
        self.assertEqual(self.ask("POST", "/auth/register", account)[0], 409)
        self.assertEqual(self.ask("POST", "/auth/login", {**account, "password": "wrong"})[0], 401)
        status, session = self.ask("POST", "/auth/login", account)
        self.assertEqual(status, 200)
        token = session["token"]
        self.assertEqual(self.ask("GET", "/auth/me", token=token), (200, {"email": account["email"]}))

        status, found = self.ask("GET", "/products?search=desk&max_price_cents=10000")
        self.assertEqual((status, [p["sku"] for p in found["products"]]), (200, ["sku-2"]))
        self.assertEqual(self.ask("GET", "/products/sku-3")[1]["price_cents"], 1290)
        self.assertEqual(self.ask("GET", "/products/nope")[0], 404)

        self.assertEqual(self.ask("GET", "/cart")[0], 401)
        self.assertEqual(self.ask("POST", "/cart/items", {"sku": "sku-3", "quantity": 3}, token)[0], 200)
        self.assertEqual(self.ask("POST", "/cart/items", {"sku": "sku-1"}, token)[0], 200)
        self.assertEqual(self.ask("DELETE", "/cart/items/sku-1", token=token)[0], 200)
        status, cart = self.ask("GET", "/cart", token=token)
        self.assertEqual((len(cart["items"]), cart["total_cents"]), (1, 3870))

        status, order = self.ask("POST", "/checkout", {}, token, Idempotency_Key="k1")
        self.assertEqual((status, order["total_cents"]), (201, 3870))
        self.assertEqual(self.ask("POST", "/checkout", {}, token, Idempotency_Key="k1")[1], order)
        self.assertEqual(self.ask("GET", "/cart", token=token)[1]["items"], [])
        self.assertEqual(self.ask("POST", "/checkout", {}, token)[0], 409)
        self.assertEqual(self.ask("GET", "/orders/" + order["order_id"], token=token), (200, order))
        self.assertEqual(self.ask("GET", "/orders", token=token)[1]["orders"], [order])
        for region in REGIONS:
            self.assertEqual(read_back(order["order_id"], region)["total_cents"], 3870)

        self.assertEqual(self.ask("POST", "/auth/logout", token=token)[0], 200)
        self.assertEqual(self.ask("GET", "/auth/me", token=token)[0], 401)


if __name__ == "__main__":
    unittest.main()
