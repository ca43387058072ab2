//! The configuration as it is in force, for people to read: V1's shape, defaults filled in, secrets elided.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Config, Crypto, NetworkProxy, Pkcs11};

/// What stands in the place of a secret.
const ELIDED: &str = "<elided>";

pub(super) fn effective(config: &Config) -> Value {
    let mut top = json!({
        "coreThing": core_thing(config),
        "crypto": crypto(&config.crypto),
        "runtime": runtime(config),
        "managedRespawn": config.managed_respawn,
        "mqttMaxConnectionRetryInterval": config.mqtt.max_retry_interval.as_secs(),
        "writeDirectory": path(&config.directories.write),
        "margay": margay(config),
    });
    drop_absent(&mut top);
    top
}

fn core_thing(config: &Config) -> Value {
    let core = &config.core_thing;
    json!({
        "thingArn": core.thing_arn.to_string(),
        "iotHost": core.iot_host.as_str(),
        "ggHost": core.gg_host.as_str(),
        "iotHttpPort": core.iot_http_port,
        "ggHttpPort": core.gg_http_port,
        "ggMqttPort": core.gg_mqtt_port,
        "coreClientId": config.mqtt.client_id,
        "keepAlive": config.mqtt.keep_alive.as_secs(),
        "networkProxy": core.network_proxy.as_ref().map(network_proxy),
    })
}

fn network_proxy(proxy: &NetworkProxy) -> Value {
    let exempt: Vec<&str> = proxy.no_proxy.iter().map(|host| host.as_str()).collect();
    json!({
        "noProxyAddresses": exempt.join(","),
        "proxy": {
            "url": proxy.url(),
            "username": proxy.username,
            "password": proxy.password.as_ref().map(|_| ELIDED),
        },
    })
}

fn crypto(crypto: &Crypto) -> Value {
    let principal = |path: &Option<_>| path.as_deref().map(|path| json!({"privateKeyPath": uri(path)}));
    json!({
        "caPath": uri(&crypto.ca_path),
        "PKCS11": crypto.pkcs11.as_ref().map(pkcs11),
        "principals": {
            "IoTCertificate": {
                "certificatePath": uri(&crypto.certificate_path),
                "privateKeyPath": uri(&crypto.private_key_path),
            },
            "MQTTServerCertificate": principal(&crypto.mqtt_server_key_path),
            "SecretsManager": principal(&crypto.secrets_manager_key_path),
        },
    })
}

fn pkcs11(pkcs11: &Pkcs11) -> Value {
    json!({
        "P11Provider": path(&pkcs11.provider),
        "slotLabel": pkcs11.slot_label,
        "slotUserPin": ELIDED,
        "OpenSSLEngine": pkcs11.openssl_engine.as_deref().map(path),
    })
}

fn runtime(config: &Config) -> Value {
    let runtime = &config.runtime;
    json!({
        "maxWorkItemCount": runtime.max_work_item_count,
        "postStartHealthCheckTimeout": u64::try_from(runtime.health_check_timeout.as_millis()).ok(),
        "cgroup": {"useSystemd": runtime.use_systemd.map(yes_no)},
        "allowFunctionsToRunAsRoot": yes_no(runtime.allow_functions_to_run_as_root),
    })
}

fn margay(config: &Config) -> Value {
    let (directories, s3) = (&config.directories, &config.s3);
    json!({
        "group": path(&directories.group_document),
        "stateDirectory": path(&directories.state),
        "statusSocket": path(&directories.status_socket),
        "credentials": config.credentials.as_ref().map(|provider| json!({
            "endpoint": provider.endpoint.to_string(),
            "roleAlias": provider.role_alias,
            "credentialRetryInSec": {
                "clientError": provider.retry.client_error.as_secs(),
                "serverError": provider.retry.server_error.as_secs(),
                "unknownError": provider.retry.unknown_error.as_secs(),
            },
            "functionRoleAliases": provider.function_role_aliases,
        })),
        "s3": {
            "endpoint": s3.endpoint.as_ref().map(ToString::to_string),
            "region": s3.region,
            "addressing": s3.addressing.as_str(),
            "caPath": s3.ca_path.as_deref().map(path),
            "maxBytesPerSecond": s3.max_bytes_per_second,
        },
        "mqtt": {
            "host": config.mqtt.host.as_str(),
            "port": config.mqtt.port,
            "version": config.mqtt.version.as_str(),
            "maxPublishesPerSecond": config.mqtt.publishes_per_second,
            "status": config.mqtt.presence.as_str(),
        },
        "tokenExchange": {"port": config.token_exchange.port},
        "jobs": config.jobs.map(|jobs| json!({"enabled": true, "stepTimeoutInMinutes": jobs.step_timeout})),
        "page": config.page.map(|page| json!({"port": page.port})),
        "deployments": {"healthWindowSeconds": config.deployments.health_window.as_secs()},
        "metrics": config.metrics.map(|metrics| json!({"port": metrics.port})),
        "onnxRuntime": config.onnx_runtime.as_deref().map(path),
        "packages": {
            "signatures": config.packages.policy_name(),
            "publicKeys": config.packages.public_keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "quotaBytes": config.packages.quota,
        },
    })
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// A file URI. `%` is the one character of an absolute path that the reader would take for something else.
fn uri(path: &Path) -> String {
    format!("file://{}", path.display()).replace('%', "%25")
}

fn yes_no(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

/// Takes out what is not set, so that what is printed holds only what is in force.
fn drop_absent(value: &mut Value) {
    if let Value::Object(entries) = value {
        entries.values_mut().for_each(drop_absent);
        entries.retain(|_, value| !is_absent(value));
    }
}

fn is_absent(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty)
}
