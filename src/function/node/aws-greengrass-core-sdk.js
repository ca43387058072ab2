// For functions that bring no aws-greengrass-core-sdk of their own: publish and invoke, called as V1's SDK is. Written by us;
// nothing of V1's is in it.

'use strict';

const { envVars, FunctionArnFields, buildFunctionArn } = require('aws-greengrass-common-js');
const IPCClient = require('aws-greengrass-ipc-sdk-js');

const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64');

/** The first name that `params` lacks, as an error. */
function missing(params, names) {
    const name = names.find((wanted) => params[wanted] === undefined);
    return name && new Error(`"${name}" is a required parameter`);
}

/** Invokes other functions. */
class Lambda {
    constructor() {
        this.ipc = new IPCClient(envVars.AUTH_TOKEN);
    }

    /** params: FunctionName, Payload, InvocationType, ClientContext (base64), Qualifier. */
    invoke(params, callback) {
        const type = params.InvocationType || 'RequestResponse';
        let arn;
        try {
            const fields = new FunctionArnFields(params.FunctionName);
            arn = buildFunctionArn(fields.unqualifiedArn, fields.qualifier || params.Qualifier);
        } catch (error) {
            callback(error, null);
            return;
        }
        this.ipc.postWork(arn, params.Payload, params.ClientContext, type, (error, invocation) => {
            if (error || type === 'Event') {
                callback(error, error ? null : invocation);
                return;
            }
            this.ipc.getWorkResult(arn, invocation, (failure, Payload, FunctionError, StatusCode) => {
                callback(failure, failure ? null : { FunctionError, StatusCode, Payload });
            });
        });
    }
}

/** Publishes messages. */
class IotData {
    constructor() {
        this.ipc = new IPCClient(envVars.AUTH_TOKEN);
    }

    /** params: topic, payload, queueFullPolicy ('AllOrError' or 'BestEffort'). */
    publish(params, callback) {
        const error = missing(params, ['topic', 'payload']);
        if (error) {
            callback(error, null);
            return;
        }
        const custom = { source: envVars.MY_FUNCTION_ARN, subject: params.topic, queueFullPolicy: params.queueFullPolicy || '' };
        this.ipc.postWork(envVars.ROUTER_FUNCTION_ARN, params.payload, base64({ custom }), 'Event', (failure, invocation) => {
            callback(failure, failure ? null : invocation);
        });
    }
}

module.exports = { GreengrassInterfaceVersion: '1.5', Lambda, IotData };
