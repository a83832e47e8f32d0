import boto3
from boto3.dynamodb.conditions import Key

import shop

dynamodb = boto3.resource('dynamodb')
carts_table = dynamodb.Table('Carts')
products_table = dynamodb.Table('Products')

QUANTITY_MAX = 100


def show(event):
    lines = carts_table.query(
        KeyConditionExpression=Key('email').eq(shop.user_of(event)), ConsistentRead=True)['Items']
    items = []
    for line in lines:
        product = products_table.get_item(Key={'sku': line['sku']}).get('Item')
        if product is not None:
            items.append({
                'sku': line['sku'],
                'name': product['name'],
                'quantity': line['quantity'],
                'price_cents': product['price_cents']
            })
    return shop.answer(200, {
        'items': items,
        'total_cents': sum(item['quantity'] * item['price_cents'] for item in items)
    })


def put(event):
    """Set the quantity of a product: asked twice, it is the same cart."""
    email = shop.user_of(event)
    document = shop.body_of(event)
    sku = shop.text_of(document, 'sku')
    quantity = document.get('quantity', 1)
    if type(quantity) is not int or not 1 <= quantity <= QUANTITY_MAX:
        raise shop.Refusal(400, f'quantity must be a whole number from 1 to {QUANTITY_MAX}')
    if 'Item' not in products_table.get_item(Key={'sku': sku}):
        raise shop.Refusal(404, 'There is no such product')
    carts_table.put_item(Item={'email': email, 'sku': sku, 'quantity': quantity})
    return shop.answer(200, {'sku': sku, 'quantity': quantity})


def remove(event):
    carts_table.delete_item(Key={'email': shop.user_of(event), 'sku': event['pathParameters']['sku']})
    return shop.answer(200, {'message': 'Removed'})


ROUTES = {
    ('GET', '/cart'): show,
    ('POST', '/cart/items'): put,
    ('DELETE', '/cart/items/{sku}'): remove,
}


def lambda_handler(event, context):
    return shop.routed(ROUTES, event)
