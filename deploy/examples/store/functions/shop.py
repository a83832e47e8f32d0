"""What the store's functions share: answers, request bodies, and who is asking."""
import hashlib
import json
import time

import boto3

dynamodb = boto3.resource('dynamodb')
sessions_table = dynamodb.Table('Sessions')


class Refusal(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def answer(status, document):
    return {
        'statusCode': status,
        'headers': {'Content-Type': 'application/json'},
        'body': json.dumps(document, default=int)  # DynamoDB's numbers are Decimals; ours are whole
    }


def body_of(event):
    try:
        document = json.loads(event['body'] or '')
    except ValueError:
        raise Refusal(400, 'The body must be JSON') from None
    if not isinstance(document, dict):
        raise Refusal(400, 'The body must be a JSON object')
    return document


def text_of(document, name, longest=200):
    value = document.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise Refusal(400, f'{name} must be a text of 1 to {longest} characters')
    return value


def header_of(event, name):
    for key, value in (event.get('headers') or {}).items():
        if key.lower() == name.lower():
            return value
    return None


def token_of(event):
    scheme, _, token = (header_of(event, 'Authorization') or '').partition(' ')
    if scheme.lower() != 'bearer' or not token:
        raise Refusal(401, 'Log in first: Authorization: Bearer TOKEN')
    return token


def token_key(token):
    """Tokens are kept as hashes: who reads the table cannot log in."""
    return hashlib.sha256(token.encode()).hexdigest()


def user_of(event):
    session = sessions_table.get_item(Key={'token_hash': token_key(token_of(event))}, ConsistentRead=True).get('Item')
    if session is None or session['expires_at'] < int(time.time()):
        raise Refusal(401, 'The token is unknown or has expired')
    return session['email']


def routed(routes, event):
    """Run the function for the event's route; a Refusal becomes its answer."""
    try:
        return routes[event['httpMethod'], event['resource']](event)
    except Refusal as refusal:
        return answer(refusal.status, {'message': str(refusal)})
