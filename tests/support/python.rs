//! Python as a second implementation: the interpreter of `MARGAY_TEST_PYTHON`, with the modules that a test needs.

use std::process::Command;

/// The interpreter, if it has `modules` (`boto3, moto`); otherwise the tier is skipped.
pub fn python_with(modules: &str) -> Option<String> {
    let python = std::env::var("MARGAY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let how = "pip install paho-mqtt boto3 'moto[server]>=5.2.5' 'tritonclient[http]' prometheus_client awsiotsdk \
               pillow onnxruntime; \
               MARGAY_TEST_PYTHON names the interpreter";
    super::skipped("python clients", how);
    None
}

/// Runs `script` with `arguments`; gives what it printed.
#[track_caller]
pub fn run(python: &str, script: &str, arguments: &[&str]) -> String {
    let output = Command::new(python).args(["-c", script]).args(arguments).env("PYTHONIOENCODING", "utf-8").output();
    let output = output.expect("python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
