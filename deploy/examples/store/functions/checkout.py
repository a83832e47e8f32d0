import time
import uuid

import boto3
from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError

import shop

dynamodb = boto3.resource('dynamodb')
carts_table = dynamodb.Table('Carts')
orders_table = dynamodb.Table('Orders')
products_table = dynamodb.Table('Products')

SPACE = uuid.UUID('6f1c8a0e-4a3b-4d0c-9d0a-5a1f5f0e7c11')


def order_id_of(event, email):
    """The same idempotency key of the same user is the same order, however often it is sent."""
    key = shop.header_of(event, 'Idempotency-Key')
    return str(uuid.uuid5(SPACE, email + '\n' + key) if key else uuid.uuid4())


def find_order(order_id, email):
    order = orders_table.get_item(Key={'order_id': order_id}, ConsistentRead=True).get('Item')
    return order if order is not None and order.get('user_id') == email else None


def price(lines):
    items = []
    for line in lines:
        product = products_table.get_item(Key={'sku': line['sku']}).get('Item')
        if product is None:
            raise shop.Refusal(409, f"{line['sku']} is not sold any more")
        items.append({'sku': line['sku'], 'quantity': line['quantity'], 'price_cents': product['price_cents']})
    return items


def check_out(event):
    email = shop.user_of(event)
    order_id = order_id_of(event, email)
    order = find_order(order_id, email)
    if order is None:
        lines = carts_table.query(KeyConditionExpression=Key('email').eq(email), ConsistentRead=True)['Items']
        if not lines:
            raise shop.Refusal(409, 'The cart is empty')
        items = price(lines)
        order = {
            'order_id': order_id,
            'user_id': email,
            'items': items,
            'total_cents': sum(item['quantity'] * item['price_cents'] for item in items),
            'created_at': int(time.time())
        }
        try:
            orders_table.put_item(Item=order, ConditionExpression='attribute_not_exists(order_id)')
        except ClientError as error:
            if error.response['Error']['Code'] != 'ConditionalCheckFailedException':
                raise
            order = find_order(order_id, email)  # a retry of the same request was quicker
    for item in order['items']:
        carts_table.delete_item(Key={'email': email, 'sku': item['sku']})
    return shop.answer(201, order)


def get_order(event):
    order = find_order(event['pathParameters']['order_id'], shop.user_of(event))
    if order is None:
        raise shop.Refusal(404, 'There is no such order')
    return shop.answer(200, order)


def list_orders(event):
    wanted = {'FilterExpression': Attr('user_id').eq(shop.user_of(event)), 'ConsistentRead': True}
    page = orders_table.scan(**wanted)
    orders = page['Items']
    while 'LastEvaluatedKey' in page:
        page = orders_table.scan(ExclusiveStartKey=page['LastEvaluatedKey'], **wanted)
        orders += page['Items']
    return shop.answer(200, {'orders': sorted(orders, key=lambda order: order.get('created_at', 0))})


ROUTES = {
    ('POST', '/checkout'): check_out,
    ('GET', '/orders'): list_orders,
    ('GET', '/orders/{order_id}'): get_order,
}


def lambda_handler(event, context):
    return shop.routed(ROUTES, event)
