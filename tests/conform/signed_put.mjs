// A function that puts its event into a table, with a request signed by hand (SigV4).
import { createHash, createHmac } from 'node:crypto';
import { request } from 'node:http';

const hmac = (key, text) => createHmac('sha256', key).update(text).digest();
const sha256 = (text) => createHash('sha256').update(text).digest('hex');

function sign(url, target, body) {
    const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret, AWS_REGION: region } = process.env;
    const now = new Date().toISOString().replace(/[-:]|\.\d{3}/g, '');
    const day = now.slice(0, 8);
    const scope = `${day}/${region}/dynamodb/aws4_request`;
    const names = 'content-type;host;x-amz-date;x-amz-target';
    const headers = { 'content-type': 'application/x-amz-json-1.0', host: url.host, 'x-amz-date': now,
        'x-amz-target': target };
    const canonical = ['POST', '/', '', ...names.split(';').map((name) => `${name}:${headers[name]}`), '', names,
        sha256(body)].join('\n');
    const key = [day, region, 'dynamodb', 'aws4_request'].reduce(hmac, 'AWS4' + secret);
    const signature = hmac(key, ['AWS4-HMAC-SHA256', now, scope, sha256(canonical)].join('\n')).toString('hex');

    return { ...headers, authorization: `AWS4-HMAC-SHA256 Credential=${id}/${scope}, SignedHeaders=${names}, ` +
        `Signature=${signature}` };
}

export function handler(event, context) {
    const url = new URL(process.env.AWS_ENDPOINT_URL);
    const body = JSON.stringify({ TableName: process.env.TABLE,
        Item: { id: { S: event.id }, by: { S: context.functionName } } });

    return new Promise((resolve, reject) => {
        const put = request(url, { method: 'POST', headers: sign(url, 'DynamoDB_20120810.PutItem', body) },
            (response) => response.resume().on('end', () => resolve(response.statusCode)));

        put.on('error', reject).end(body);
    });
}
