// What V1's SDK for Node imports from the core under this name. Written by us; nothing of V1's is in it.

'use strict';

const variable = (name) => process.env[name] || '';

exports.envVars = {
    AUTH_TOKEN: variable('AWS_CONTAINER_AUTHORIZATION_TOKEN'),
    MY_FUNCTION_ARN: variable('MY_FUNCTION_ARN'),
    ROUTER_FUNCTION_ARN: variable('ROUTER_FUNCTION_ARN'),
    SHADOW_FUNCTION_ARN: variable('SHADOW_FUNCTION_ARN'),
    SECRETS_MANAGER_FUNCTION_ARN: variable('SECRETS_MANAGER_FUNCTION_ARN'),
    GG_DAEMON_PORT: variable('GG_DAEMON_PORT'),
};

const ARN = /^(arn:[a-z0-9-]+:lambda:([a-z0-9-]*):(\d{12}|aws)?:function:([a-zA-Z0-9_-]+))(?::([a-zA-Z0-9$_-]+))?$/;

/** The parts of a function's ARN. */
class FunctionArnFields {
    constructor(arn) {
        const parts = ARN.exec(arn);
        if (!parts) {
            throw new Error(`${arn} is not the ARN of a function`);
        }
        [, this.unqualifiedArn, this.region, this.accountId, this.name, this.qualifier] = parts;
        this.arn = arn;
    }
}

exports.FunctionArnFields = FunctionArnFields;

/** The ARN with its version or alias, where there is one. */
exports.buildFunctionArn = (unqualified, qualifier) => (qualifier ? `${unqualified}:${qualifier}` : unqualified);

const log = (level) => (...words) => process.stderr.write(`[${level}]-sdk,${words.join(' ').split('\n').join(' ')}\n`);

/** Lines for the function's log. */
class LocalWatchLogger {
    constructor() {
        Object.assign(this, { debug: log('DEBUG'), info: log('INFO'), warn: log('WARN'), error: log('ERROR'), fatal: log('FATAL') });
    }
}

exports.logging = { LocalWatchLogger };
