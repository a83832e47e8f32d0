import json
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
