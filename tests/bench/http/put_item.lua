-- A PutItem as boto3 sent it, with the signature it computed.
wrk.method = "POST"
wrk.body = '{"TableName": "Orders", "Item": {"order_id": {"S": "o1"}, "total": {"N": "12.5"}}}'
wrk.headers["Host"] = "127.0.0.1:4566"
wrk.headers["Content-Type"] = "application/x-amz-json-1.0"
wrk.headers["X-Amz-Date"] = "20261123T130451Z"
wrk.headers["X-Amz-Target"] = "DynamoDB_20120810.PutItem"
wrk.headers["User-Agent"] = "Boto3/1.43.11 md/Botocore#1.43.11 ua/2.1 os/linux#6.1 md/arch#x86_64 lang/python#3.11"
wrk.headers["Accept-Encoding"] = "identity"
wrk.headers["amz-sdk-invocation-id"] = "6f1d7f70-2f3c-4b8e-9d68-1f9e5f0f6a11"
wrk.headers["amz-sdk-request"] = "attempt=1"
wrk.headers["Authorization"] = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/us-east-1/dynamodb/aws4_request, "
  .. "SignedHeaders=content-type;host;x-amz-date;x-amz-target, "
  .. "Signature=fa787abe86fa0d302f2cdf1361885b563ff33bba0683c872c2fe08c70333bb61"
