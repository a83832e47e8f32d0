import hashlib
import hmac
import secrets
import time

import boto3
from botocore.exceptions import ClientError

import shop

dynamodb = boto3.resource('dynamodb')
users_table = dynamodb.Table('Users')
sessions_table = dynamodb.Table('Sessions')

ITERATIONS = 100_000
SESSION_SECONDS = 24 * 3600


def password_hash(password, salt, iterations):
    return hashlib.pbkdf2_hmac('sha256', password.encode(), bytes.fromhex(salt), int(iterations)).hex()


def credentials_of(event):
    document = shop.body_of(event)
    email = shop.text_of(document, 'email').strip().lower()
    password = shop.text_of(document, 'password')
    if '@' not in email:
        raise shop.Refusal(400, 'email must be an address')
    return email, password


def register(event):
    email, password = credentials_of(event)
    if len(password) < 8:
        raise shop.Refusal(400, 'password must have at least 8 characters')
    salt = secrets.token_hex(16)
    try:
        users_table.put_item(
            Item={
                'email': email,
                'salt': salt,
                'iterations': ITERATIONS,
                'password_hash': password_hash(password, salt, ITERATIONS),
                'created_at': int(time.time())
            },
            ConditionExpression='attribute_not_exists(email)')
    except ClientError as error:
        if error.response['Error']['Code'] != 'ConditionalCheckFailedException':
            raise
        raise shop.Refusal(409, 'There is an account with this address') from None
    return shop.answer(201, {'email': email})


def login(event):
    email, password = credentials_of(event)
    user = users_table.get_item(Key={'email': email}, ConsistentRead=True).get('Item')
    # An unknown address costs the same time as a wrong password.
    salt, iterations = (user['salt'], user['iterations']) if user else ('00' * 16, ITERATIONS)
    found = password_hash(password, salt, iterations)
    if user is None or not hmac.compare_digest(found, user['password_hash']):
        raise shop.Refusal(401, 'Address or password is wrong')
    token = secrets.token_urlsafe(32)
    expires_at = int(time.time()) + SESSION_SECONDS
    sessions_table.put_item(Item={'token_hash': shop.token_key(token), 'email': email, 'expires_at': expires_at})
    return shop.answer(200, {'token': token, 'expires_at': expires_at})


def logout(event):
    sessions_table.delete_item(Key={'token_hash': shop.token_key(shop.token_of(event))})
    return shop.answer(200, {'message': 'Logged out'})


def who_am_i(event):
    return shop.answer(200, {'email': shop.user_of(event)})


ROUTES = {
    ('POST', '/auth/register'): register,
    ('POST', '/auth/login'): login,
    ('POST', '/auth/logout'): logout,
    ('GET', '/auth/me'): who_am_i,
}


def lambda_handler(event, context):
    return shop.routed(ROUTES, event)
