//! The functions of a group: the users', and the system functions by which the core itself is configured.

use crate::arn::FunctionArn;
use crate::document::{Notes, Object, Unknown};
use crate::name::EntityId;

use super::execution::{Execution, IsolationMode, RunAs};
use super::function::{self, Function};
use super::placed::{Declared, Placed, read_list, refuse_repeated};
use super::{Host, Spooler};

/// The functions of a group, while the rules between them and resources are checked.
#[derive(Debug)]
pub(super) struct Functions {
    pub(super) users: Vec<Placed<Function>>,
    pub(super) declared: Declared<String>,
    pub(super) default_isolation: IsolationMode,
    pub(super) default_run_as: RunAs,
    pub(super) spooler: Spooler,
}

pub(super) fn read(top: &mut Object<'_>, virtual_hosted_s3: bool) -> Functions {
    let mut definition = top.field("FunctionDefinitionVersion").section();
    let default = read_default(&mut definition);
    let mut declared = Declared::new();
    let mut spooler = None;
    let users = read_list(&mut definition, "Functions", |object| {
        let id = object.field("Id").required("write an id").parsed::<EntityId>();
        let arn =
            object.field("FunctionArn").required("write the ARN with an alias or version").parsed::<FunctionArn>();
        let repeated = arn.as_ref().is_some_and(|arn| !declared.insert(arn.as_str().to_owned()));
        if repeated {
            object.field("FunctionArn").refuse("is listed already", "list each function once");
        }
        if let Some(system) = arn.as_ref().filter(|arn| arn.is_system()) {
            read_system(object, system, &mut spooler);
            return None;
        }
        Function::read(object, (id, arn), default, virtual_hosted_s3)
    });
    definition.finish(Unknown::Warn);
    refuse_repeated(&users, ("Id", |function: &Function| Some(&function.id)), top.notes());
    Functions {
        users,
        declared,
        default_run_as: default.run_as,
        default_isolation: default.isolation.unwrap_or(IsolationMode::GreengrassContainer),
        spooler: spooler.unwrap_or_default(),
    }
}

fn read_default(definition: &mut Object<'_>) -> Execution {
    const INVALID: &str = "Your 'IsolationMode' configuration for the group is invalid.";
    let mut config = definition.field("DefaultConfig").section();
    let execution = Execution::read(config.field("Execution").section(), INVALID);
    config.finish(Unknown::Warn);
    execution
}

/// A system function configures the core. Leaving one out restores its defaults.
fn read_system(object: &mut Object<'_>, arn: &FunctionArn, spooler: &mut Option<Spooler>) {
    let field = object.field("FunctionConfiguration");
    let mut configuration = field.section();
    let mut environment = configuration.field("Environment").section();
    match (arn.name(), arn.qualifier()) {
        ("GGCloudSpooler", "1") => {
            refuse_execution(&mut configuration, &mut environment, arn);
            *spooler = Some(Spooler::read(environment.field("Variables").section()));
        }
        ("GGIPDetector", "1") => {
            refuse_execution(&mut configuration, &mut environment, arn);
            let rule = "detects addresses for devices to connect to, and this version has no local MQTT server";
            object.field("FunctionArn").warn(rule, "leave it, or take it out");
        }
        _ => {
            let rule = "is a system function that this version does not have";
            object.field("FunctionArn").warn(rule, "take it out, or leave it without effect");
        }
    }
}

/// The guide's rule for system functions (contract G3).
fn refuse_execution<'d>(configuration: &mut Object<'d>, environment: &mut Object<'d>, arn: &FunctionArn) {
    for place in [configuration, environment] {
        let execution = place.field("Execution");
        if execution.is_present() {
            let rule = format!("Execution configuration for function with arn {arn} is not allowed.");
            execution.refuse(rule, "omit the Execution parameters for this system function");
        }
    }
}

/// The rules that look at all functions together, and what this version makes of them.
pub(super) fn check(functions: &Functions, host: Host<'_>, notes: &Notes) {
    let as_root = functions.users.iter().filter(|placed| placed.entity.run_as.is_root());
    let as_root: Vec<&str> = as_root.map(|placed| placed.entity.arn.as_str()).collect();
    if !as_root.is_empty() && !host.allow_functions_to_run_as_root {
        // The wording of contract G2; A-31 prints another one, in two lines.
        let rule = format!(
            "[{}] are configured to run as root but Greengrass is not configured to run Lambda functions with root \
             permissions.",
            as_root.join(" ")
        );
        let hint = "set runtime.allowFunctionsToRunAsRoot to \"yes\" in config.json, or change Uid and Gid";
        notes.error("FunctionDefinitionVersion.Functions", None, rule, hint);
    }
    for placed in &functions.users {
        let Some(memory) = placed.entity.memory.filter(|memory| memory.bytes() < function::LEAST_MEMORY) else {
            continue;
        };
        let kib = memory.bytes() / 1024;
        let rule = format!("is {kib} KB, in which no program starts: it is read as {kib} MB");
        notes.warning(
            &format!("{}.FunctionConfiguration.MemorySize", placed.path),
            None,
            rule,
            "write KB, such as 16384",
        );
    }
}
