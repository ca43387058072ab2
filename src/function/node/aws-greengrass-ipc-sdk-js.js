// The core's interface for functions, over HTTP on the function's own loopback (docs/functions.md), under the name and in
// the form in which V1's SDK for Node imports it. Written by us; nothing of V1's is in it.

'use strict';

const http = require('http');

const AGENT = new http.Agent({ keepAlive: true });

/** Posts work to functions and fetches their answers. */
class IPCClient {
    constructor(authToken) {
        this.token = authToken || process.env.AWS_CONTAINER_AUTHORIZATION_TOKEN;
        this.port = Number(process.env.GG_DAEMON_PORT || 8000);
    }

    /** Gives work to a function; callback(error, the number of the invocation). */
    postWork(functionArn, payload, clientContext, invocationType, callback) {
        const headers = { 'X-Amz-Invocation-Type': invocationType || 'RequestResponse', 'Content-Type': 'application/octet-stream' };
        if (clientContext) {
            headers['X-Amz-Client-Context'] = clientContext;
        }
        const body = payload === undefined || payload === null ? '' : payload;
        this._ask('POST', functionArn, headers, body, (error, response) => {
            callback(error, error ? undefined : response.headers['x-amz-invocationid']);
        });
    }

    /** Waits for what came of an invocation; callback(error, the answer, Handled or Unhandled if it failed, the status). */
    getWorkResult(functionArn, invocationId, callback) {
        this._ask('GET', functionArn, { 'X-Amz-InvocationId': invocationId }, undefined, (error, response, body) => {
            if (error) {
                callback(error);
                return;
            }
            callback(null, body, response.headers['x-amz-function-error'] || '', response.statusCode);
        });
    }

    _ask(method, functionArn, headers, body, callback) {
        const path = `/2016-11-01/functions/${encodeURIComponent(functionArn)}`;
        const all = Object.assign({ Authorization: this.token }, headers);
        if (body !== undefined) {
            all['Content-Length'] = Buffer.byteLength(body);
        }
        const request = http.request({ host: '127.0.0.1', port: this.port, path, method, headers: all, agent: AGENT }, (response) => {
            const pieces = [];
            response.on('data', (piece) => pieces.push(piece));
            response.on('error', (error) => callback(error));
            response.on('end', () => {
                const said = Buffer.concat(pieces);
                if (response.statusCode === 200) {
                    callback(null, response, said);
                } else {
                    callback(new Error(`the core refused: ${response.statusCode} ${said.toString('utf8')}`));
                }
            });
        });
        request.on('error', (error) => callback(new Error(`the core cannot be reached: ${error.message}`)));
        request.end(body);
    }
}

module.exports = IPCClient;
