import boto3

import shop

dynamodb = boto3.resource('dynamodb')
products_table = dynamodb.Table('Products')


def all_products():
    page = products_table.scan()
    yield from page['Items']
    while 'LastEvaluatedKey' in page:
        page = products_table.scan(ExclusiveStartKey=page['LastEvaluatedKey'])
        yield from page['Items']


def search(event):
    query = event['queryStringParameters'] or {}
    words = query.get('search', '').lower().split()
    category = query.get('category')
    try:
        price_max = int(query.get('max_price_cents', 2**53))
    except ValueError:
        raise shop.Refusal(400, 'max_price_cents must be a whole number') from None
    found = [
        product for product in all_products()
        if all(word in (product['name'] + ' ' + product['description']).lower() for word in words)
        and category in (None, product['category']) and product['price_cents'] <= price_max
    ]
    return shop.answer(200, {'products': sorted(found, key=lambda product: product['sku'])})


def get_one(event):
    product = products_table.get_item(Key={'sku': event['pathParameters']['sku']}).get('Item')
    if product is None:
        raise shop.Refusal(404, 'There is no such product')
    return shop.answer(200, product)


ROUTES = {
    ('GET', '/products'): search,
    ('GET', '/products/{sku}'): get_one,
}


def lambda_handler(event, context):
    return shop.routed(ROUTES, event)
