#!/usr/bin/env bash
# Deploys the store with the AWS CLI, nothing else: tables, products, functions, the API. Can be run again: what is there
# is brought up to date. Against a skein cluster: eval "$(skein env)" first.
set -euo pipefail
cd "$(dirname "$0")"
export AWS_PAGER="" AWS_DEFAULT_REGION=${AWS_DEFAULT_REGION:-us-east-1}

aws() { command aws ${AWS_ENDPOINT_URL:+--endpoint-url "$AWS_ENDPOINT_URL"} "$@"; }
work=$(mktemp -d "${TMPDIR:-/tmp}/store.XXXXXX")
trap 'rm -rf "$work"' EXIT
role=arn:aws:iam::000000000000:role/store

table() { # NAME FILE
  aws dynamodb describe-table --table-name "$1" >/dev/null 2>&1 ||
    aws dynamodb create-table --cli-input-json "file://tables/$2" >/dev/null
  aws dynamodb wait table-exists --table-name "$1"
  echo "table    $1"
}

function_of() { # NAME MODULE FILE...
  local name=$1 module=$2 zip=$work/$1.zip
  shift 2
  (cd functions && python3 -m zipfile -c "$zip" "$@")
  if aws lambda get-function --function-name "$name" >/dev/null 2>&1; then
    aws lambda update-function-code --function-name "$name" --zip-file "fileb://$zip" >/dev/null
    aws lambda update-function-configuration --function-name "$name" --handler "$module.lambda_handler" >/dev/null
  else
    aws lambda create-function --function-name "$name" --runtime python3.11 --role "$role" --timeout 10 \
      --memory-size 256 --handler "$module.lambda_handler" --zip-file "fileb://$zip" >/dev/null
  fi
  aws lambda wait function-updated --function-name "$name"
  echo "function $name"
}

# Run the lines of standard input side by side; fail when one does.
together() {
  local line pids=() pid
  while read -r line; do
    # shellcheck disable=SC2086
    $line &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
}

together <<'LINES'
table Orders orders.json
table Users users.json
table Sessions sessions.json
table Products products.json
table Carts carts.json
function_of ProcessOrder process_order process_order.py
function_of Authenticate authentication authentication.py shop.py
function_of SearchProducts products products.py shop.py
function_of ManageCart cart cart.py shop.py
function_of Checkout checkout checkout.py shop.py
LINES

aws dynamodb batch-write-item --request-items file://products.json >/dev/null

# shellcheck disable=SC2016
id=$(aws apigateway get-rest-apis --query 'items[?name==`E-Commerce API`].id | [0]' --output text)
if [[ $id == None ]]; then
  id=$(aws apigateway import-rest-api --body fileb://openapi.json --query id --output text)
else
  aws apigateway put-rest-api --rest-api-id "$id" --mode overwrite --body fileb://openapi.json >/dev/null
fi
aws apigateway create-deployment --rest-api-id "$id" --stage-name prod >/dev/null
echo "api      ${AWS_ENDPOINT_URL:-https://$id.execute-api.$AWS_DEFAULT_REGION.amazonaws.com}/restapis/$id/prod/_user_request_"
