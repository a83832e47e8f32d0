"""The Python runtime: fetches invocations from the Runtime API and calls the handler, with the
same context, error shapes and messages as Lambda's own runtime.

`preload` runs in the zygote, everything else in a sandbox.
"""

import decimal
import http.client
import importlib
import io
import json
import logging
import os
import socket
import sys
import time
import traceback
import types

API = '/2018-06-01/runtime'
PRELOADED = ('boto3', 'botocore', 's3transfer', 'urllib3', 'jmespath', 'dateutil', 'six', 'certifi')


# ---- boto3: loaded once, sent to the node --------------------------------------------------

def point_at_endpoint(session_module):
    """botocore before 1.31 does not know AWS_ENDPOINT_URL; an explicit endpoint_url still wins."""
    import botocore
    version = tuple(int(part) for part in botocore.__version__.split('.')[:2])
    if version >= (1, 31):
        return
    create_client = session_module.Session.create_client

    def create_client_at_endpoint(self, service_name, *arguments, **options):
        # endpoint_url is the sixth argument; anyone who passes that many knows what they do
        if len(arguments) < 5 and options.get('endpoint_url') is None:
            name = 'AWS_ENDPOINT_URL_' + service_name.upper().replace('-', '_').replace(' ', '_')
            options['endpoint_url'] = os.environ.get(name) or os.environ.get('AWS_ENDPOINT_URL')
        return create_client(self, service_name, *arguments, **options)

    session_module.Session.create_client = create_client_at_endpoint


class EndpointFinder:
    """Does the same to a botocore that a function brings itself, when it is imported."""

    def find_spec(self, name, path=None, target=None):
        if name != 'botocore.session':
            return None
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target) if finder is not self else None
            if spec is not None:
                execute = spec.loader.exec_module

                def exec_module(module):
                    execute(module)
                    point_at_endpoint(module)

                spec.loader.exec_module = exec_module
                return spec
        return None


def share_loader():
    """Service models are parsed once, in the zygote. The name to patch is the session module's."""
    import botocore.loaders
    import botocore.session
    create_loader = botocore.loaders.create_loader
    shared = create_loader()

    def create_shared_loader(search_path_string=None):
        return create_loader(search_path_string) if search_path_string else shared

    botocore.session.create_loader = create_shared_loader


def preload():
    """Everything that functions commonly import. Nothing in here belongs to a tenant."""
    import base64, datetime, hashlib, hmac, random, re, ssl, urllib.request, uuid  # noqa
    sys.meta_path.insert(0, EndpointFinder())
    os.environ.update(AWS_ACCESS_KEY_ID='preload', AWS_SECRET_ACCESS_KEY='preload',
                      AWS_DEFAULT_REGION='us-east-1', AWS_EC2_METADATA_DISABLED='true')
    try:
        import boto3
    except ImportError:
        return  # functions that need it get the error themselves
    share_loader()
    boto3.setup_default_session()
    rehearse()
    for service in ('s3', 'sns', 'sqs', 'lambda'):
        boto3.client(service)


def canned_connection(address, timeout=None, source_address=None, socket_options=None):
    """A connection on which the answer is there already, whatever will be asked."""
    ours, theirs = socket.socketpair()
    theirs.sendall(b'HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n'
                   b'Content-Length: 2\r\n\r\n{}')
    canned_connection.peers.append(theirs)
    return ours


def rehearse():
    """Put an item nowhere, so that the pages this dirties are dirty before the first request."""
    try:
        import boto3
        from botocore.config import Config
        from urllib3.util import connection
    except ImportError:
        return
    create_connection = connection.create_connection
    canned_connection.peers = []
    connection.create_connection = canned_connection
    try:
        dynamodb = boto3.resource('dynamodb', endpoint_url='http://127.0.0.1:1',
                                  config=Config(retries={'max_attempts': 0}))
        table = dynamodb.Table('rehearsal')
        table.put_item(Item={'id': 'x', 'n': 1, 'd': decimal.Decimal('1.5'), 'l': [{'a': 1}]})
    except Exception as error:  # costs time, nothing else
        print('sandbox: rehearsal: %r' % error, file=sys.stderr)
    finally:
        connection.create_connection = create_connection
        canned_connection.peers = []
    json.loads(json.dumps({'statusCode': 200}))


def forget_preloaded(task_root):
    """Nothing that was looked up for the rehearsal stays; and a function that brings its own copy
    of a preloaded package gets that copy."""
    if 'boto3' in sys.modules:
        sys.modules['boto3'].DEFAULT_SESSION._session._credentials = None
    if not any(os.path.exists(os.path.join(task_root, name)) for name in PRELOADED):
        return
    for name in list(sys.modules):
        if name.partition('.')[0] in PRELOADED:
            del sys.modules[name]


# ---- the handler ---------------------------------------------------------------------------

class Fault(Exception):
    """An error of the runtime's own making, with Lambda's type and words."""

    def __init__(self, error_type, message, trace=None):
        super().__init__(message)
        self.error_type = error_type
        self.trace = trace


def find_handler(name):
    """`app.lambda_handler`, `package/app.lambda_handler`."""
    parts = name.rsplit('.', 1)
    if len(parts) != 2:
        raise Fault('Runtime.MalformedHandlerName',
                    "Bad handler '%s': not enough values to unpack (expected 2, got 1)" % name)
    module_name, function_name = parts
    try:
        module = importlib.import_module(module_name.replace('/', '.'))
    except ImportError as error:
        raise Fault('Runtime.ImportModuleError',
                    "Unable to import module '%s': %s" % (module_name, error)) from None
    except SyntaxError as error:
        raise Fault('Runtime.UserCodeSyntaxError',
                    "Syntax error in module '%s': %s" % (module_name, error),
                    ['  File "%s" Line %s\n    %s' % (error.filename, error.lineno,
                                                      error.text)]) from None
    try:
        return getattr(module, function_name)
    except AttributeError:
        raise Fault('Runtime.HandlerNotFound',
                    "Handler '%s' missing on module '%s'" % (function_name, module_name)) from None


def describe(error, request_id):
    """The error as Lambda reports it; the runtime's own frames are left out."""
    if isinstance(error, Fault):
        error_type, trace = error.error_type, error.trace or []
    else:
        frames = traceback.extract_tb(error.__traceback__)
        while frames and ('/bootstrap.py' in frames[0].filename or
                          'importlib' in frames[0].filename):
            del frames[0]
        plain = [(frame.filename, frame.lineno, frame.name, frame.line) for frame in frames]
        error_type, trace = type(error).__name__, traceback.format_list(plain)
    return {'errorMessage': str(error), 'errorType': error_type, 'requestId': request_id,
            'stackTrace': trace}


def log_error(description):
    lines = ['[ERROR] %s: %s' % (description['errorType'], description['errorMessage'])]
    if description['stackTrace']:
        lines.append('Traceback (most recent call last):')
        lines += [frame.rstrip('\n') for frame in description['stackTrace']]
    print('\n'.join(lines), flush=True)


def encode_number(value):
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError('Object of type %s is not JSON serializable' % type(value).__name__)


def call(handler, body, context):
    try:
        event = json.loads(body)
    except Exception as error:
        raise Fault('Runtime.UnmarshalError', 'Unable to unmarshal input: %s' % error) from None
    result = handler(event, context)
    try:
        return json.dumps(result, default=encode_number).encode()
    except Exception as error:
        raise Fault('Runtime.MarshalError', 'Unable to marshal response: %s' % error) from None


# ---- the context object --------------------------------------------------------------------

class CognitoIdentity:
    __slots__ = ('cognito_identity_id', 'cognito_identity_pool_id')

    def __init__(self, fields):
        self.cognito_identity_id = fields.get('cognitoIdentityId')
        self.cognito_identity_pool_id = fields.get('cognitoIdentityPoolId')


CLIENT_FIELDS = ('installation_id', 'app_title', 'app_version_name', 'app_version_code',
                 'app_package_name')


class LambdaContext:
    def __init__(self, headers):
        self.aws_request_id = headers['lambda-runtime-aws-request-id']
        self.invoked_function_arn = headers.get('lambda-runtime-invoked-function-arn')
        self.log_group_name = os.environ.get('AWS_LAMBDA_LOG_GROUP_NAME')
        self.log_stream_name = os.environ.get('AWS_LAMBDA_LOG_STREAM_NAME')
        self.function_name = os.environ.get('AWS_LAMBDA_FUNCTION_NAME')
        self.memory_limit_in_mb = os.environ.get('AWS_LAMBDA_FUNCTION_MEMORY_SIZE')
        self.function_version = os.environ.get('AWS_LAMBDA_FUNCTION_VERSION')
        self.identity = CognitoIdentity(
            json.loads(headers.get('lambda-runtime-cognito-identity', '{}')))
        self.client_context = self._client_context(headers.get('lambda-runtime-client-context'))
        self._deadline_ms = int(headers.get('lambda-runtime-deadline-ms', 0))

    @staticmethod
    def _client_context(text):
        if text is None:
            return None
        fields = json.loads(text)
        client = fields.get('client') or {}
        return types.SimpleNamespace(
            custom=fields.get('custom'), env=fields.get('env'),
            client=types.SimpleNamespace(**{name: client.get(name) for name in CLIENT_FIELDS}))

    def get_remaining_time_in_millis(self):
        return max(0, int(self._deadline_ms - time.time() * 1000))

    def log(self, message):
        sys.stdout.write(str(message))


# ---- the Runtime API -----------------------------------------------------------------------

class RuntimeApi:
    """One connection; each answer leaves together with the request for the next event."""

    def __init__(self, address):
        authority, _, self.token = address.partition('/')
        host, _, port = authority.partition(':')
        self.prefix = ('/' + self.token if self.token else '') + API
        self.host = authority
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.bytes = b''
        self.next_request = self._head('GET', '/invocation/next')

    def _head(self, method, path, *lines):
        head = ['%s %s%s HTTP/1.1' % (method, self.prefix, path), 'Host: ' + self.host, *lines]
        return ('\r\n'.join(head) + '\r\n\r\n').encode()

    def _post(self, path, body, *lines):
        return self._head('POST', path, 'Content-Type: application/json',
                          'Content-Length: %d' % len(body), *lines) + body

    def _receive(self):
        received = self.socket.recv(1 << 16)
        if not received:
            os._exit(0)  # the node has let go of us
        self.bytes += received

    def _read_response(self):
        while True:
            end = self.bytes.find(b'\r\n\r\n')
            if end >= 0:
                break
            self._receive()
        headers = {}
        for line in self.bytes[:end].decode('latin-1').split('\r\n')[1:]:
            name, _, value = line.partition(':')
            headers[name.lower()] = value.strip()
        start = end + 4
        stop = start + int(headers.get('content-length', 0))
        if len(self.bytes) < stop:
            parts = io.BytesIO()
            parts.write(self.bytes)
            while parts.tell() < stop:
                received = self.socket.recv(1 << 20)
                if not received:
                    os._exit(0)
                parts.write(received)
            self.bytes = parts.getvalue()
        body = self.bytes[start:stop]
        self.bytes = self.bytes[stop:]
        return headers, body

    def ask(self):
        self.socket.sendall(self.next_request)

    def receive_event(self):
        """Skips the answers to what was posted before."""
        while True:
            headers, body = self._read_response()
            if 'lambda-runtime-aws-request-id' in headers:
                return headers, body

    def respond(self, request_id, body):
        self.socket.sendall(self._post('/invocation/%s/response' % request_id, body) +
                            self.next_request)

    def fail(self, request_id, description):
        error_type = 'Lambda-Runtime-Function-Error-Type: ' + description['errorType']
        self.socket.sendall(self._post('/invocation/%s/error' % request_id,
                                       json.dumps(description).encode(), error_type) +
                            self.next_request)

    def fail_init(self, description):
        error_type = 'Lambda-Runtime-Function-Error-Type: ' + description['errorType']
        self.socket.sendall(self._post('/init/error', json.dumps(description).encode(),
                                       error_type))
        self._read_response()


class LogHandler(logging.Handler):
    def emit(self, record):
        sys.stdout.write(self.format(record) + '\n')


class LogFilter(logging.Filter):
    request_id = ''

    def filter(self, record):
        record.aws_request_id = self.request_id
        return True


def set_up_logging():
    formatter = logging.Formatter('[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s'
                                  '\t%(message)s', '%Y-%m-%dT%H:%M:%S')
    formatter.converter = time.gmtime
    log_filter = LogFilter()
    handler = LogHandler()
    handler.setFormatter(formatter)
    handler.addFilter(log_filter)
    logging.getLogger().handlers[:] = [handler]
    return log_filter


def become(environment):
    """Take on the function's identity; nothing of the zygote's environment stays."""
    for name in list(os.environ):
        del os.environ[name]
    os.environ.update(environment)
    time.tzset()
    task_root = os.environ['LAMBDA_TASK_ROOT']
    sys.argv[:] = ['/var/runtime/bootstrap.py']
    sys.path.insert(0, task_root)
    sys.path[1:1] = ['/opt/python']
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    forget_preloaded(task_root)
    sys.stdout = io.TextIOWrapper(io.FileIO(1, 'w'), encoding='utf-8', errors='backslashreplace',
                                  write_through=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, 'w'), encoding='utf-8', errors='backslashreplace',
                                  write_through=True)


def run(environment):
    become(environment)
    log_filter = set_up_logging()
    api = RuntimeApi(os.environ['AWS_LAMBDA_RUNTIME_API'])
    try:
        handler = find_handler(os.environ['_HANDLER'])
    except Exception as error:
        description = describe(error, '')
        log_error(description)
        api.fail_init(description)
        os._exit(1)
    api.ask()
    while True:
        headers, body = api.receive_event()
        context = LambdaContext(headers)
        log_filter.request_id = context.aws_request_id
        os.environ['_X_AMZN_TRACE_ID'] = headers.get('lambda-runtime-trace-id', '')
        try:
            result = call(handler, body, context)
        except Exception as error:
            description = describe(error, context.aws_request_id)
            log_error(description)
            api.fail(context.aws_request_id, description)
        else:
            api.respond(context.aws_request_id, result)
