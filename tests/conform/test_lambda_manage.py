"""Lambda's management API through boto3: limits, permissions, tags, URLs, with a controller killed meanwhile."""
import concurrent.futures
import http.client
import json
import os
import subprocess
import threading
import time
import unittest
import urllib.parse

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.exceptions

from test_lambda import ENDPOINT, ROLE, LambdaCase, client, package

SKEIN = [os.environ["SKEIN"], "--data", os.environ["SKEIN_FOLDER"]]
SLEEP = """
import time
def handler(event, context):
    time.sleep(event.get('seconds', 0))
    return context.function_version
"""
PROXY = """
import json
def handler(event, context):
    return {'statusCode': 201, 'headers': {'X-Made': 'yes'}, 'cookies': ['a=1'],
            'body': json.dumps({k: event.get(k) for k in ('version', 'rawPath', 'rawQueryString', 'body')})}
"""


def impatient():
    """A client that does not try again."""
    return boto3.client("lambda", endpoint_url=ENDPOINT, region_name="us-east-1",
                        config=botocore.config.Config(retries={"max_attempts": 0}, max_pool_connections=40,
                                                      read_timeout=60))


def fetch(url, method="GET", body=None, headers=None):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    try:
        connection.request(method, parts.path + ("?" + parts.query if parts.query else ""), body, headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


class Manage(LambdaCase):
    def arn(self, name):
        return f"arn:aws:lambda:us-east-1:000000000000:function:{name}"

    def reason(self, call, **arguments):
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            call(**arguments)
        return caught.exception.response["Error"]["Code"], caught.exception.response.get("Reason")


class Configuration(Manage):
    def test_every_member_is_kept(self):
        name = self.create(SLEEP)
        wanted = {"Description": "d", "Timeout": 9, "MemorySize": 256, "Handler": "app.handler", "Role": ROLE + "2",
                  "Runtime": "python3.12", "Environment": {"Variables": {"A1": "b"}},
                  "EphemeralStorage": {"Size": 1024}, "TracingConfig": {"Mode": "Active"},
                  "KMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/k",
                  "DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:000000000000:q"}}
        self.lambda_.update_function_configuration(
            FunctionName=name, SnapStart={"ApplyOn": "PublishedVersions"},
            VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}, **wanted)
        self.lambda_.get_waiter("function_updated_v2").wait(FunctionName=name)
        got = self.lambda_.get_function_configuration(FunctionName=name)
        self.assertEqual({key: got[key] for key in wanted}, wanted)
        self.assertEqual(got["VpcConfig"]["SubnetIds"], ["subnet-1"])
        self.assertEqual(got["SnapStart"], {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"})
        self.assert_refused("InvalidParameterValueException", self.lambda_.update_function_configuration,
                            FunctionName=name, Layers=["arn:aws:lambda:us-east-1:000000000000:layer:l:1"])

    def test_changed_while_it_is_called(self):
        name = self.create("import os\ndef handler(event, context): return int(os.environ['NUMBER'])",
                           Environment={"Variables": {"NUMBER": "0"}})
        failures, seen, stop = [], set(), threading.Event()

        def call():
            caller = client("lambda")
            while not stop.is_set():
                try:
                    answer = caller.invoke(FunctionName=name)
                    if "FunctionError" in answer:
                        failures.append(answer)
                    seen.add(json.loads(answer["Payload"].read()))
                except botocore.exceptions.ClientError as error:
                    failures.append(error)

        threads = [threading.Thread(target=call) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(1, 6):
            self.lambda_.update_function_configuration(FunctionName=name,
                                                       Environment={"Variables": {"NUMBER": str(number)}})
            self.assertEqual(self.invoke(name)[1], str(number).encode())
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertIn(5, seen)

    def test_list_all_versions(self):
        name = self.create(SLEEP, Publish=True)
        pages = self.lambda_.get_paginator("list_functions").paginate(
            FunctionVersion="ALL", PaginationConfig={"PageSize": 1})
        versions = [f["FunctionArn"] for page in pages for f in page["Functions"] if f["FunctionName"] == name]
        self.assertEqual(versions, [self.arn(name) + ":$LATEST", self.arn(name) + ":1"])


class Concurrency(Manage):
    def test_zero_refuses_everything(self):
        name = self.create(SLEEP)
        self.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        self.assertEqual(self.reason(impatient().invoke, FunctionName=name),
                         ("TooManyRequestsException", "ReservedFunctionConcurrentInvocationLimitExceeded"))
        self.lambda_.delete_function_concurrency(FunctionName=name)
        self.assertEqual(self.invoke(name)[1], b'"$LATEST"')
        self.assertNotIn("ReservedConcurrentExecutions", self.lambda_.get_function_concurrency(FunctionName=name))

    def test_no_more_than_reserved_at_a_time_in_the_cluster(self):
        name = self.create(SLEEP, Timeout=20)
        before = self.lambda_.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
        self.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=4)
        settings = self.lambda_.get_account_settings()["AccountLimit"]
        self.assertEqual(settings["UnreservedConcurrentExecutions"], before - 4)
        self.assertEqual(self.lambda_.get_function(FunctionName=name)["Concurrency"],
                         {"ReservedConcurrentExecutions": 4})
        caller = impatient()

        def call(_):
            reason = "ConcurrentInvocationLimitExceeded"  # a busy machine had no sandbox in time: try again
            while reason == "ConcurrentInvocationLimitExceeded":
                try:
                    caller.invoke(FunctionName=name, Payload=json.dumps({"seconds": 6}))
                    return "ran"
                except botocore.exceptions.ClientError as error:
                    reason = error.response["Reason"]
            return reason

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            ends = list(pool.map(call, range(16)))
        self.assertEqual(ends.count("ran"), 4, ends)
        self.assertEqual(ends.count("ReservedFunctionConcurrentInvocationLimitExceeded"), 12, ends)
        self.assert_refused("InvalidParameterValueException", self.lambda_.put_function_concurrency,
                            FunctionName=name, ReservedConcurrentExecutions=1000)

    def test_provisioned(self):
        name = self.create(SLEEP, Publish=True)
        self.lambda_.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        put = self.lambda_.put_provisioned_concurrency_config(FunctionName=name, Qualifier="live",
                                                              ProvisionedConcurrentExecutions=3)
        self.assertEqual((put["Status"], put["RequestedProvisionedConcurrentExecutions"]), ("IN_PROGRESS", 3))
        end = time.monotonic() + 30
        while True:
            got = self.lambda_.get_provisioned_concurrency_config(FunctionName=name, Qualifier="live")
            if got["Status"] == "READY" or time.monotonic() > end:
                break
        self.assertEqual(got["AvailableProvisionedConcurrentExecutions"], 3)
        listed = self.lambda_.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]
        self.assertEqual([c["FunctionArn"] for c in listed], [self.arn(name) + ":live"])
        self.assertEqual(self.invoke(name, Qualifier="live")[1], b'"1"')
        self.lambda_.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="live")
        self.assert_refused("ProvisionedConcurrencyConfigNotFoundException",
                            self.lambda_.get_provisioned_concurrency_config, FunctionName=name, Qualifier="live")


class Settings(Manage):
    def test_permissions(self):
        name = self.create(SLEEP)
        added = self.lambda_.add_permission(
            FunctionName=name, StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
            SourceArn="arn:aws:s3:::bucket", SourceAccount="123456789012")
        wanted = {"Sid": "s3", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"},
                  "Action": "lambda:InvokeFunction", "Resource": self.arn(name),
                  "Condition": {"StringEquals": {"AWS:SourceAccount": "123456789012"},
                                "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"}}}
        self.assertEqual(json.loads(added["Statement"]), wanted)
        policy = self.lambda_.get_policy(FunctionName=name)
        self.assertEqual(json.loads(policy["Policy"]),
                         {"Version": "2012-10-17", "Id": "default", "Statement": [wanted]})
        self.assertEqual(policy["RevisionId"],
                         self.lambda_.get_function_configuration(FunctionName=name)["RevisionId"])
        self.assert_refused("PreconditionFailedException", self.lambda_.remove_permission, FunctionName=name,
                            StatementId="s3", RevisionId="other")
        self.lambda_.remove_permission(FunctionName=name, StatementId="s3", RevisionId=policy["RevisionId"])
        self.assert_refused("ResourceNotFoundException", self.lambda_.get_policy, FunctionName=name)

    def test_many_at_once(self):
        """As Terraform does: settings of one function, from several threads."""
        name = self.create(SLEEP)
        caller = impatient()

        def add(number):
            caller.add_permission(FunctionName=name, StatementId=f"s{number}", Action="lambda:InvokeFunction",
                                  Principal="apigateway.amazonaws.com")
            caller.tag_resource(Resource=self.arn(name), Tags={f"t{number}": "x"})

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(add, range(8)))
        policy = json.loads(self.lambda_.get_policy(FunctionName=name)["Policy"])
        self.assertEqual(sorted(s["Sid"] for s in policy["Statement"]), [f"s{n}" for n in range(8)])
        self.assertEqual(len(self.lambda_.list_tags(Resource=self.arn(name))["Tags"]), 8)

    def test_tags(self):
        name = self.create(SLEEP, Tags={"made": "with it"})
        self.lambda_.tag_resource(Resource=self.arn(name), Tags={"team": "a b", "x": ""})
        self.lambda_.untag_resource(Resource=self.arn(name), TagKeys=["made", "x"])
        self.assertEqual(self.lambda_.list_tags(Resource=self.arn(name))["Tags"], {"team": "a b"})
        self.assertEqual(self.lambda_.get_function(FunctionName=name)["Tags"], {"team": "a b"})

    def test_event_invoke_config(self):
        name = self.create(SLEEP)
        self.lambda_.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)
        self.lambda_.update_function_event_invoke_config(
            FunctionName=name, DestinationConfig={"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:q"}})
        got = self.lambda_.get_function_event_invoke_config(FunctionName=name)
        self.assertEqual(got["MaximumRetryAttempts"], 1)
        self.assertEqual(got["FunctionArn"], self.arn(name) + ":$LATEST")
        self.assertEqual(got["DestinationConfig"]["OnFailure"]["Destination"], "arn:aws:sqs:us-east-1:000000000000:q")
        self.assertEqual(len(self.lambda_.list_function_event_invoke_configs(
            FunctionName=name)["FunctionEventInvokeConfigs"]), 1)
        self.lambda_.delete_function_event_invoke_config(FunctionName=name)
        self.assert_refused("ResourceNotFoundException", self.lambda_.get_function_event_invoke_config,
                            FunctionName=name)

    def test_refused_by_name(self):
        for call, arguments in ((self.lambda_.list_layers, {}), (self.lambda_.list_event_source_mappings, {}),
                                (self.lambda_.list_code_signing_configs, {})):
            self.assertIn("not supported", self.assert_refused("InvalidParameterValueException", call, **arguments))


class Urls(Manage):
    def test_a_url_is_called(self):
        name = self.create(PROXY)
        url = self.lambda_.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
        status, headers, body = fetch(url + "a/b?x=1", "POST", "hello", {"Content-Type": "text/plain"})
        self.assertEqual((status, headers["X-Made"], headers["Set-Cookie"]), (201, "yes", "a=1"))
        self.assertEqual(json.loads(body), {"version": "2.0", "rawPath": "/a/b", "rawQueryString": "x=1",
                                            "body": "hello"})
        identity = url.rstrip("/").rsplit("/", 1)[1]
        status, _, body = fetch(ENDPOINT + "/c", headers={"Host": identity + ".lambda-url.us-east-1.on.aws"})
        self.assertEqual((status, json.loads(body)["rawPath"]), (201, "/c"))
        self.lambda_.delete_function_url_config(FunctionName=name)
        self.assertEqual(fetch(url)[0], 403)

    def test_a_signed_url(self):
        name = self.create(PROXY)
        url = self.lambda_.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")["FunctionUrl"]
        self.assertEqual(fetch(url)[0], 403)
        request = botocore.awsrequest.AWSRequest("GET", url)
        botocore.auth.SigV4Auth(boto3.Session().get_credentials(), "lambda", "us-east-1").add_auth(request)
        self.assertEqual(fetch(url, headers=dict(request.headers))[0], 201)
        headers = dict(request.headers)
        headers["Authorization"] = headers["Authorization"][:-1] + ("0" if headers["Authorization"][-1] != "0" else "1")
        self.assertEqual(fetch(url, headers=headers)[0], 403)

    def test_an_api_calls_an_alias(self):
        name = self.create("def handler(event, context): return {'statusCode': 200, 'body': context.function_version}",
                           Publish=True)
        self.lambda_.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        gateway = boto3.client("apigateway", endpoint_url=ENDPOINT, region_name="us-east-1")
        api = gateway.create_rest_api(name=name)["id"]
        self.addCleanup(gateway.delete_rest_api, restApiId=api)
        root = gateway.get_resources(restApiId=api)["items"][0]["id"]
        gateway.put_method(restApiId=api, resourceId=root, httpMethod="GET", authorizationType="NONE")
        gateway.put_integration(restApiId=api, resourceId=root, httpMethod="GET", type="AWS_PROXY",
                                integrationHttpMethod="POST",
                                uri="arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/"
                                    f"{self.arn(name)}:live/invocations")
        gateway.create_deployment(restApiId=api, stageName="s")
        address = f"{ENDPOINT}/restapis/{api}/s/_user_request_/"
        self.assertEqual(fetch(address)[2], b"1")
        self.lambda_.update_function_code(FunctionName=name, Publish=True, ZipFile=package(
            **{"app.py": "def handler(event, context): return {'statusCode': 200, 'body': 'new'}"}))
        self.assertEqual(fetch(address)[2], b"1")
        self.lambda_.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
        self.assertEqual(fetch(address)[2], b"new")


class Kill(Manage):
    def skein(self, *words):
        subprocess.run(SKEIN + list(words), check=True, capture_output=True, timeout=120)

    def test_settings_survive_a_controller(self):
        """One controller after the other is killed while settings are written; none that was answered is lost."""
        name = self.create(SLEEP)
        for number, controller in enumerate(("controller-1", "controller-2", "controller-3")):
            self.skein("kill", controller)
            try:
                self.lambda_.tag_resource(Resource=self.arn(name), Tags={controller: str(number)})
                self.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=number + 1)
                self.lambda_.add_permission(FunctionName=name, StatementId=controller, Action="lambda:InvokeFunction",
                                            Principal="apigateway.amazonaws.com")
                self.assertEqual(self.invoke(name)[1], b'"$LATEST"')
            finally:
                self.skein("start", controller)
        got = self.lambda_.get_function(FunctionName=name)
        self.assertEqual(got["Tags"], {"controller-1": "0", "controller-2": "1", "controller-3": "2"})
        self.assertEqual(got["Concurrency"], {"ReservedConcurrentExecutions": 3})
        policy = json.loads(self.lambda_.get_policy(FunctionName=name)["Policy"])
        self.assertEqual([s["Sid"] for s in policy["Statement"]], ["controller-1", "controller-2", "controller-3"])


if __name__ == "__main__":
    unittest.main()
