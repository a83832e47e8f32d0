/* The Node.js runtime: fetches invocations from the Runtime API and calls the handler, with the
 * same context, error shapes and log lines as Lambda's own runtime.
 *
 * The launcher (launcher_main.c) starts it in a sandbox that belongs to nobody yet: all up to
 * `readOrder` happens before there is a function, what follows after. Called with a `require` and
 * with what imports an ES module. Descriptor 3 is where the order comes from, 4 is this file. */

(function start(requireBuiltin, importModule) {
'use strict';

const fs = requireBuiltin('fs');
const net = requireBuiltin('net');
const path = requireBuiltin('path');
const util = requireBuiltin('util');
const { Module, createRequire } = requireBuiltin('module');
const { Writable } = requireBuiltin('stream');
const { pathToFileURL } = requireBuiltin('url');

const ORDER_FD = 3;
const SOURCE_FD = 4;
const API = '/2018-06-01/runtime';
const ARGUMENT = '/var/runtime/index.mjs';
const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
/* Heeded only by a process that finds them when it starts. */
const START_VARIABLES = ['NODE_OPTIONS', 'NODE_EXTRA_CA_CERTS', 'LD_LIBRARY_PATH', 'LD_PRELOAD',
    'UV_THREADPOOL_SIZE'];
const IS_SECOND = 'SKEIN_IS_SECOND_PROCESS';
const EXIT_REJECTION = 128;
const EXIT_EXCEPTION = 129;
const LAST_ANSWER_MS = 1000; /* a process that must end waits so long for the answer */

const startArguments = process.execArgv;
const startVariables = { ...process.env };

/* What most functions load; loaded before there is one. */
function preload() {
    for (const name of ['assert', 'buffer', 'child_process', 'crypto', 'dns', 'events', 'http',
        'https', 'os', 'querystring', 'stream/promises', 'string_decoder', 'timers/promises', 'tls',
        'zlib', 'async_hooks'])
        requireBuiltin(name);
}

/* ---- becoming a function ------------------------------------------------------------------ */

/* The whole order. While nothing of it is there yet, there is time to rehearse. */
async function readOrder() {
    const parts = [];

    if (!fs.fstatSync(ORDER_FD).isFIFO()) {
        const order = fs.readFileSync(ORDER_FD);

        fs.closeSync(ORDER_FD);
        return order;
    }
    const pipe = new net.Socket({ fd: ORDER_FD, readable: true, writable: false });
    const end = new Promise((resolve) => pipe.once('end', resolve));

    pipe.on('data', (part) => parts.push(part));
    await new Promise(setImmediate);
    if (parts.length === 0)
        await rehearse();
    await end;
    return Buffer.concat(parts);
}

function become(order) {
    if (order.length === 0)
        process.exit(1); /* the node has let go of us */
    for (const name of Object.keys(process.env))
        delete process.env[name];
    for (const entry of order.toString('utf8').split('\0')) {
        const equals = entry.indexOf('=');

        if (equals > 0)
            process.env[entry.slice(0, equals)] = entry.slice(equals + 1);
    }
    process.chdir(process.env.LAMBDA_TASK_ROOT);
    Module._initPaths(); /* NODE_PATH is a new one */
}

function wantsSecond() {
    return START_VARIABLES.some((name) => process.env[name] !== startVariables[name]);
}

/* A function that has such variables gets a second process below this one, which finds them when it
 * starts. It costs a start of node. */
function runSecond() {
    const { spawnSync } = requireBuiltin('child_process');
    const source = fs.openSync(`/proc/self/fd/${SOURCE_FD}`, 'r');
    const result = spawnSync(process.execPath, startArguments, {
        env: { ...process.env, [IS_SECOND]: '1' },
        stdio: ['ignore', 'inherit', 'inherit', 'ignore', source],
    });

    if (result.signal !== null)
        process.kill(process.pid, result.signal);
    process.exit(result.status ?? 1);
}

/* ---- what it prints ----------------------------------------------------------------------- */

const LEVELS = {
    log: 'INFO', info: 'INFO', debug: 'DEBUG', trace: 'TRACE', warn: 'WARN', error: 'ERROR',
};

let requestId; /* of the invocation that runs */

function patchConsole() {
    for (const [method, level] of Object.entries(LEVELS))
        console[method] = (...parts) => {
            process.stdout.write(`${new Date().toISOString()}\t${requestId}\t${level}\t` +
                                 `${util.format(...parts)}\n`);
        };
}

function isError(value) {
    return util.types.isNativeError(value) ||
           (value !== null && typeof value === 'object' && 'name' in value && 'message' in value &&
            'stack' in value);
}

/* As callers see it. */
function describe(error) {
    try {
        if (!isError(error))
            return { errorType: typeof error, errorMessage: String(error), trace: [] };
        return {
            errorType: String(error.name),
            errorMessage: String(error.message),
            trace: String(error.stack).split('\n'),
        };
    } catch {
        return {
            errorType: 'handled',
            errorMessage: 'callback called with Error argument, but there was a problem while ' +
                          'retrieving one or more of its message, name, and stack',
            trace: [],
        };
    }
}

function logError(title, error) {
    const { errorType, errorMessage, trace } = describe(error);

    try {
        const own = isError(error) ? { ...error } : {};

        console.error(title, '\t' + JSON.stringify(
            { errorType, errorMessage, code: own.code, ...own, stack: trace }));
    } catch {
        console.error(title, '\t' + JSON.stringify({ errorType, errorMessage, stack: trace }));
    }
}

/* An error of the runtime's own making, with Lambda's type and words. */
class Fault extends Error {
    constructor(type, reason) {
        super(String(reason));
        this.name = type;
        this.stack = this.stack.replace(/^Error/, type);
        Object.defineProperty(this, 'name', { enumerable: false });
    }
}

/* ---- the handler -------------------------------------------------------------------------- */

function isFile(name) {
    return fs.statSync(name, { throwIfNoEntry: false })?.isFile() ?? false;
}

/* Does the nearest package.json make .js files ES modules? */
function isModulePackage(file, root) {
    for (let folder = path.dirname(file); folder.startsWith(root); folder = path.dirname(folder)) {
        const name = path.join(folder, 'package.json');

        if (isFile(name))
            return JSON.parse(fs.readFileSync(name, 'utf8')).type === 'module';
        if (folder === root)
            break;
    }
    return false;
}

async function loadFile(root, folder, name) {
    const require = createRequire(ARGUMENT);
    const file = path.resolve(root, folder, name);

    if (isFile(file))
        return require(file);
    if (isFile(file + '.js'))
        return isModulePackage(file, root) ? importModule(pathToFileURL(file + '.js').href)
                                           : require(file + '.js');
    if (isFile(file + '.mjs'))
        return importModule(pathToFileURL(file + '.mjs').href);
    if (isFile(file + '.cjs'))
        return require(file + '.cjs');
    return require(require.resolve(name, { paths: [root, path.resolve(root, folder)] }));
}

async function loadModule(root, folder, name) {
    try {
        return await loadFile(root, folder, name);
    } catch (error) {
        if (error instanceof SyntaxError)
            throw new Fault('Runtime.UserCodeSyntaxError', error);
        if (error?.code === 'MODULE_NOT_FOUND' || error?.code === 'ERR_MODULE_NOT_FOUND')
            throw new Fault('Runtime.ImportModuleError', error);
        throw error;
    }
}

/* `index.handler`, `src/app.handlers.create`. */
async function findHandler(root, text) {
    const folder = text.slice(0, text.length - path.basename(text).length);
    const parts = /^([^.]*)\.(.*)$/.exec(path.basename(text));

    if (text.includes('..'))
        throw new Fault('Runtime.MalformedHandlerName', `'${text}' is not a valid handler name. ` +
            'Use absolute paths when specifying root directories in handler names.');
    if (parts === null)
        throw new Fault('Runtime.MalformedHandlerName', 'Bad handler');
    const module = await loadModule(root, folder, parts[1]);
    const handler = parts[2].split('.').reduce((found, name) => found?.[name], module);

    if (handler === undefined || handler === null)
        throw new Fault('Runtime.HandlerNotFound', `${text} is undefined or not exported`);
    if (typeof handler !== 'function')
        throw new Fault('Runtime.HandlerNotFound', `${text} is not a function`);
    return handler;
}

/* ---- the Runtime API ---------------------------------------------------------------------- */

/* One connection; each answer leaves together with the request for the next event. */
class RuntimeApi {
    constructor(address, onEvent) {
        const slash = address.indexOf('/');
        const authority = slash < 0 ? address : address.slice(0, slash);
        const [host, port] = authority.split(':');

        this.prefix = (slash < 0 ? '' : address.slice(slash)) + API;
        this.host = authority;
        this.onEvent = onEvent;
        this.onAnswer = null; /* to what is posted last */
        this.parts = [];
        this.size = 0;
        this.awaited = 0; /* bytes without which there is nothing to look at */
        this.nextRequest = Buffer.from(this.head('GET', '/invocation/next', []));
        this.socket = net.connect({ host, port: Number(port), noDelay: true });
        this.socket.on('data', (bytes) => this.receive(bytes));
        this.socket.on('error', () => process.exit(0));
        this.socket.on('close', () => process.exit(0)); /* the node has let go of us */
    }

    head(method, target, lines) {
        return [`${method} ${this.prefix}${target} HTTP/1.1`, `Host: ${this.host}`, ...lines]
            .join('\r\n') + '\r\n\r\n';
    }

    post(target, body, lines) {
        return [Buffer.from(this.head('POST', target, ['Content-Type: application/json',
            `Content-Length: ${body.length}`, ...lines])), body];
    }

    send(buffers) {
        this.socket.ref();
        this.socket.write(buffers.length === 1 ? buffers[0] : Buffer.concat(buffers));
    }

    ask() {
        this.send([this.nextRequest]);
    }

    respond(id, body) {
        this.send([...this.post(`/invocation/${id}/response`, body, []), this.nextRequest]);
    }

    /* Without `done` the next event is asked for. With it, it is called when the node has answered:
     * a process that ended at once could be missed before what it said was read. */
    fail(target, error, done) {
        const description = describe(error);
        const type = description.errorType.replace(/[^\x20-\x7e]/g, '?');
        const buffers = this.post(target, Buffer.from(JSON.stringify(description)),
            ['Lambda-Runtime-Function-Error-Type: ' + type]);

        if (done === undefined) {
            this.send([...buffers, this.nextRequest]);
            return;
        }
        this.onAnswer = done;
        setTimeout(done, LAST_ANSWER_MS);
        this.send(buffers);
    }

    receive(bytes) {
        this.parts.push(bytes);
        this.size += bytes.length;
        while (this.size > 0 && this.size >= this.awaited && this.takeMessage())
            ;
    }

    /* False while the first message is not there whole. Answers to what was posted are skipped. */
    takeMessage() {
        const bytes = this.parts.length === 1 ? this.parts[0] : Buffer.concat(this.parts);
        const end = bytes.indexOf('\r\n\r\n');
        const headers = {};

        this.parts = [bytes];
        if (end < 0)
            return false;
        for (const line of bytes.toString('latin1', 0, end).split('\r\n').slice(1)) {
            const colon = line.indexOf(':');

            headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
        }
        const stop = end + 4 + Number(headers['content-length'] ?? 0);

        this.awaited = stop;
        if (bytes.length < stop)
            return false;
        this.parts = bytes.length === stop ? [] : [bytes.subarray(stop)];
        this.size = bytes.length - stop;
        this.awaited = 0;
        if ('lambda-runtime-aws-request-id' in headers)
            this.onEvent(headers, bytes.toString('utf8', end + 4, stop));
        else
            this.onAnswer?.();
        return true;
    }
}

/* ---- response streams: gathered, then answered in one piece -------------------------------- */

class ResponseStream extends Writable {
    constructor() {
        super();
        this.parts = [];
    }

    _write(chunk, encoding, done) {
        this.parts.push(chunk);
        done();
    }

    setContentType(type) {
        this.contentType = type;
    }
}

function offerStreams() {
    globalThis.awslambda = {
        streamifyResponse(handler, options) {
            handler[STREAMING] = options ?? 'response';
            return handler;
        },
        HttpResponseStream: {
            from(stream, prelude) {
                stream.write(JSON.stringify(prelude) + '\0'.repeat(8));
                return stream;
            },
        },
    };
}

/* ---- invocations -------------------------------------------------------------------------- */

function makeContext(headers) {
    const deadline = Number(headers['lambda-runtime-deadline-ms'] ?? 0);
    const client = headers['lambda-runtime-client-context'];
    const identity = headers['lambda-runtime-cognito-identity'];

    return {
        callbackWaitsForEmptyEventLoop: true,
        functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
        functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
        memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
        logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
        logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
        clientContext: client === undefined ? undefined : JSON.parse(client),
        identity: identity === undefined ? undefined : JSON.parse(identity),
        invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
        awsRequestId: headers['lambda-runtime-aws-request-id'],
        getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
    };
}

function encode(result) {
    let text;

    try {
        text = JSON.stringify(result === undefined ? null : result);
    } catch {
        throw new Error('Unable to stringify response body');
    }
    return Buffer.from(text === undefined ? 'null' : text);
}

class Runtime {
    constructor(address) {
        this.api = new RuntimeApi(address, (headers, body) => this.handle(headers, body));
        this.api.socket.unref(); /* loading must be able to come to an end */
        this.handler = null;
        this.finish = null;  /* (error, body) ends the invocation that runs */
        this.onEmpty = null; /* there is nothing left to wait for */
        process.on('beforeExit', () => this.onEmpty?.());
        process.on('uncaughtException', (error) =>
            this.die('Uncaught Exception', error, EXIT_EXCEPTION));
        process.on('unhandledRejection', (reason) =>
            this.die('Unhandled Promise Rejection',
                new Fault('Runtime.UnhandledPromiseRejection', reason), EXIT_REJECTION));
    }

    /* Nobody knows what state the process is in: tell the caller, then end. */
    die(title, error, status) {
        const target = this.handler === null ? '/init/error' : `/invocation/${requestId}/error`;

        logError(title, error);
        if (this.handler !== null && this.finish === null)
            process.exit(status);
        this.finish = null;
        this.onEmpty = null;
        this.api.fail(target, error, () => process.exit(status));
    }

    async load() {
        try {
            const { LAMBDA_TASK_ROOT, _HANDLER } = process.env;

            this.handler = await findHandler(LAMBDA_TASK_ROOT, _HANDLER);
        } catch (error) {
            this.die('Uncaught Exception', error, 1);
            return;
        }
        this.api.ask();
    }

    handle(headers, body) {
        const context = makeContext(headers);
        const id = context.awsRequestId;

        requestId = id;
        process.env._X_AMZN_TRACE_ID = headers['lambda-runtime-trace-id'] ?? '';
        this.finish = (error, bytes) => {
            if (requestId !== id || this.finish === null)
                return; /* answered before */
            this.finish = null;
            this.onEmpty = null;
            if (error === null) {
                this.api.respond(id, bytes);
            } else {
                logError('Invoke Error', error.value);
                this.api.fail(`/invocation/${id}/error`, error.value);
            }
        };
        this.api.socket.unref();
        this.run(context, body, this.finish);
    }

    run(context, body, finish) {
        const fail = (value) => finish({ value });
        const succeed = (result) => {
            let bytes;

            try {
                bytes = encode(result);
            } catch (error) {
                fail(error);
                return;
            }
            finish(null, bytes);
        };
        const callback = (error, result) => {
            if (error !== undefined && error !== null)
                fail(error);
            else if (!context.callbackWaitsForEmptyEventLoop)
                succeed(result);
            else if (this.finish === finish)
                this.onEmpty = () => succeed(result);
        };

        context.succeed = succeed;
        context.fail = (error) => fail(error ?? 'handled');
        context.done = (error, result) =>
            error !== undefined && error !== null ? fail(error) : succeed(result);
        this.onEmpty = () => succeed(null);
        try {
            const event = JSON.parse(body);

            if (this.handler[STREAMING] !== undefined) {
                this.runStreaming(event, context, finish);
                return;
            }
            const result = this.handler(event, context, callback);

            if (typeof result?.then === 'function')
                result.then(context.succeed, context.fail);
        } catch (error) {
            context.fail(error);
        }
    }

    runStreaming(event, context, finish) {
        const stream = new ResponseStream();
        const answer = () => finish(null, Buffer.concat(stream.parts));

        this.onEmpty = answer;
        stream.on('error', context.fail);
        Promise.resolve(this.handler(event, stream, context)).then(() => {
            if (stream.writableFinished)
                answer();
            else
                stream.on('finish', answer);
        }, context.fail);
    }
}

/* ---- rehearsal: once through what a first call needs, for nobody ---------------------------- */

function rehearseCall() {
    const answer = 'HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: rehearsal\r\n' +
                   'Content-Length: 2\r\n\r\n{}';

    return new Promise((resolve, reject) => {
        const server = net.createServer((socket) => {
            socket.once('data', () => {
                socket.write(answer);
                socket.once('data', () => socket.destroy());
            });
            server.close(resolve);
        });

        server.on('error', reject);
        server.listen(0, '127.0.0.1', () => {
            const api = new RuntimeApi(`127.0.0.1:${server.address().port}`, (headers, body) => {
                api.respond(makeContext(headers).awsRequestId, encode(JSON.parse(body)));
            });

            api.socket.removeAllListeners('close');
            api.ask();
        });
    });
}

async function rehearseLoading() {
    const folder = fs.mkdtempSync('/tmp/rehearsal-');
    const sources = {
        'index.js': 'exports.handler = async () => {};',
        'index.mjs': 'export const handler = async () => {};',
    };

    for (const [name, text] of Object.entries(sources)) {
        const file = path.join(folder, name);

        fs.writeFileSync(file, text);
        await (await findHandler(folder, 'index.handler'))();
        delete createRequire(ARGUMENT).cache[file];
        fs.rmSync(file);
    }
    fs.rmdirSync(folder);
}

async function rehearse() {
    try {
        process.stdout.write(util.format('%s', ''));
        await rehearseLoading();
        await rehearseCall();
    } catch (error) { /* costs time, nothing else */
        console.error('sandbox: rehearsal:', error);
    }
}

/* ---- from here on it happens -------------------------------------------------------------- */

async function main() {
    preload();
    if (process.env[IS_SECOND] === undefined) {
        become(await readOrder());
        if (wantsSecond())
            runSecond();
    }
    delete process.env[IS_SECOND];
    fs.closeSync(SOURCE_FD);
    process.argv = [process.execPath, ARGUMENT];
    process.execArgv = [];
    patchConsole();
    offerStreams();
    new Runtime(process.env.AWS_LAMBDA_RUNTIME_API).load();
}

main();
})
