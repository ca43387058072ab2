// Runs a Node handler over the Lambda Runtime API: node margay_function.js module.function
//
// Messages arrive as V1 gave them to handlers: JSON decoded unless the function's encoding is binary, the topic in
// context.clientContext.custom.subject. A handler answers by a promise or by its callback; one that takes no callback
// and gives no promise is done when it returns.

'use strict';

const fs = require('fs');
const http = require('http');
const path = require('path');
const url = require('url');
const util = require('util');

const API = '/2018-06-01/runtime/';
const [HOST, PORT] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
const AGENT = new http.Agent({ keepAlive: true, maxSockets: 1 });

/** The invocation that is in hand, as long as nobody has answered it. */
let current = null;

/** Asks the core; resolves to its answer with the whole body. */
function ask(method, target, body) {
    return new Promise((resolve, reject) => {
        const headers = body === undefined ? {} : { 'Content-Length': Buffer.byteLength(body) };
        const request = http.request({ host: HOST, port: PORT, path: API + target, method, headers, agent: AGENT }, (response) => {
            const pieces = [];
            response.on('data', (piece) => pieces.push(piece));
            response.on('error', reject);
            response.on('end', () => resolve({ response, body: Buffer.concat(pieces) }));
        });
        request.on('error', reject);
        request.end(body);
    });
}

/** An error as the Runtime API tells it. */
function described(error) {
    const known = error instanceof Error;
    return JSON.stringify({
        errorType: known ? error.name : typeof error,
        errorMessage: known ? error.message : util.format('%s', error),
        stackTrace: known && error.stack ? error.stack.split('\n').slice(1).map((line) => line.trim()) : [],
    });
}

/** What a handler answered: bytes as they are, anything else as JSON. */
function encoded(answer) {
    if (Buffer.isBuffer(answer) || answer instanceof Uint8Array) {
        return Buffer.from(answer);
    }
    const text = JSON.stringify(answer);
    return text === undefined ? 'null' : text;
}

/** The second argument of a handler. */
function contextOf(headers) {
    const said = JSON.parse(headers['lambda-runtime-client-context'] || '{}');
    const custom = said.custom || {};
    const deadline = Number(headers['lambda-runtime-deadline-ms'] || 0);
    return {
        awsRequestId: headers['lambda-runtime-aws-request-id'],
        invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
        functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
        functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
        memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
        logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
        logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
        // AWS's runtime for Node says Custom, its others custom.
        clientContext: Object.assign({}, said, { custom, Custom: custom }),
        callbackWaitsForEmptyEventLoop: false,
        getRemainingTimeInMillis: () => Math.max(deadline - Date.now(), 0),
    };
}

/** The handler of `module.function`. */
async function loaded(name) {
    const point = name.lastIndexOf('.');
    const stem = path.join(process.env.LAMBDA_TASK_ROOT || '/lambda', name.slice(0, point));
    const file = ['.js', '.mjs', '.cjs'].map((extension) => stem + extension).find((candidate) => fs.existsSync(candidate));
    let module;
    try {
        module = require(file);
    } catch (error) {
        if (error.code !== 'ERR_REQUIRE_ESM') {
            throw error;
        }
        module = await import(url.pathToFileURL(file).href);
    }
    const handler = module[name.slice(point + 1)];
    if (typeof handler !== 'function') {
        throw new TypeError(`${path.basename(file)} exports no function ${name.slice(point + 1)}`);
    }
    return handler;
}

/** Has the handler work on one payload; resolves to its answer. */
function run(handler, payload, context) {
    return new Promise((resolve, reject) => {
        const event = process.env.ENCODING_TYPE === 'binary' ? payload : JSON.parse(payload.length ? payload.toString('utf8') : 'null');
        const callback = (error, answer) => (error ? reject(error) : resolve(answer));
        const returned = handler(event, context, callback);
        if (returned && typeof returned.then === 'function') {
            returned.then(resolve, reject);
        } else if (handler.length < 3) {
            resolve(null);
        } else {
            current.resolve = resolve;
        }
    });
}

async function work(handler) {
    for (;;) {
        const { response, body } = await ask('GET', 'invocation/next');
        if (response.statusCode !== 200) {
            return;
        }
        const invocation = `invocation/${response.headers['lambda-runtime-aws-request-id']}`;
        current = { invocation, resolve: null };
        try {
            const answer = encoded(await run(handler, body, contextOf(response.headers)));
            await ask('POST', `${invocation}/response`, answer);
        } catch (error) {
            console.error(error);
            await ask('POST', `${invocation}/error`, described(error));
        }
        current = null;
    }
}

/** What nobody caught ends the process, as it ends Node; whoever waits for an answer learns why. */
function last(error) {
    console.error(error);
    const told = current ? ask('POST', `${current.invocation}/error`, described(error)) : Promise.resolve();
    told.then(() => process.exit(1), () => process.exit(1));
}

/** Lines that name their level, which the core's log reads. */
function nameLevels() {
    const levels = { debug: 'DEBUG', warn: 'WARN' };
    Object.keys(levels).forEach((method) => {
        console[method] = (...words) => {
            const lines = util.format(...words).split('\n');
            process.stderr.write(lines.map((line) => `[${levels[method]}]-node,${line}\n`).join(''));
        };
    });
}

nameLevels();
process.on('uncaughtException', last);
process.on('unhandledRejection', last);
// A handler that let go of its callback has nothing more to do once the event loop is empty.
process.on('beforeExit', () => current && current.resolve && current.resolve(null));

loaded(process.argv[2]).then(work, (error) => {
    console.error(error);
    return ask('POST', 'init/error', described(error)).then(() => process.exit(1));
}).catch(last);
