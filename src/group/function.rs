//! One function of a user, with its group-specific configuration (A-29, contract E7).
//!
//! The guide's examples disagree on what stands inside `Environment` and what beside it (contract H14, B-16); both are
//! read, and a key in both places is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::arn::FunctionArn;
use crate::document::{Field, Object, Unknown};
use crate::name::EntityId;
use crate::units::ByteSize;

use super::access::Attachment;
use super::code::FunctionCode;
use super::execution::{Execution, IsolationMode, RunAs};
use super::own::{self, Own};

/// A limit below this, in bytes, is no limit in V1's KB: the guide's own examples write MB (contract A, section 11).
pub const LEAST_MEMORY: u64 = 4096 * 1024;

/// V1's default of `Timeout`, in seconds.
const TIMEOUT: u64 = 3;

/// A function of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// The entity's id.
    pub id: EntityId,
    /// The function, by alias or version.
    pub arn: FunctionArn,
    /// Whether it is long-lived.
    pub pinned: bool,
    /// Its handler, or the name of its executable.
    pub executable: Option<String>,
    /// Where its code comes from; without it, V1's place.
    pub code: Option<FunctionCode>,
    /// What its executable is started with.
    pub exec_args: Option<String>,
    /// The memory that it may use in a container; `MemorySize` in V1's KB, as it was written.
    pub memory: Option<ByteSize>,
    /// How long its handler may take.
    pub timeout: Duration,
    /// How its input is passed.
    pub encoding: Encoding,
    /// What is added to its environment.
    pub variables: BTreeMap<String, String>,
    /// What was asked of Margay among them.
    pub own: Own,
    /// Whether it may read `/sys`.
    pub access_sysfs: bool,
    /// The resources that are attached to it.
    pub attachments: Vec<Attachment>,
    /// Where the list of attachments stands in the document, for problems.
    pub(super) attachments_place: String,
    /// Whether it runs in a container, the group's default applied.
    pub isolation: IsolationMode,
    /// Whom it runs as, the group's default applied.
    pub run_as: RunAs,
}

/// How a function's input is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Decoded from JSON, the default.
    Json,
    /// As it arrived.
    Binary,
}

impl Encoding {
    const NAMES: [(&'static str, Self); 2] = [("json", Self::Json), ("binary", Self::Binary)];
}

/// The three places in which the guide's examples write a function's settings.
struct Places<'d, 'o> {
    function: &'o mut Object<'d>,
    configuration: Object<'d>,
    environment: Object<'d>,
}

impl<'d, 'o> Places<'d, 'o> {
    fn of(function: &'o mut Object<'d>) -> Self {
        let field = function.field("FunctionConfiguration").required("write the function's settings");
        let mut configuration = field.section();
        let environment = configuration.field("Environment").section();
        Self { function, configuration, environment }
    }

    /// The field `key`, wherever it stands; refused where it stands twice.
    fn field(&mut self, key: &'static str) -> Field<'d> {
        let inside = self.environment.field(key);
        let fields = [self.configuration.field(key), inside, self.function.field(key)];
        let mut present = fields.into_iter().filter(Field::is_present);
        let Some(first) = present.next() else { return self.configuration.field(key) };
        for again in present {
            again.refuse(format!("stands at {} already", first.path()), "write it once");
        }
        first
    }

    fn finish(self) {
        self.environment.finish(Unknown::Warn);
        self.configuration.finish(Unknown::Warn);
    }
}

impl Function {
    /// Reads the entity whose `Id` and `FunctionArn` are `id` and `arn`, or are refused; `default` is the group's.
    pub(super) fn read(
        object: &mut Object<'_>,
        (id, arn): (Option<EntityId>, Option<FunctionArn>),
        default: Execution,
        virtual_hosted_s3: bool,
    ) -> Option<Self> {
        let name = arn.as_ref().map_or("<function-arn>", FunctionArn::as_str);
        let mut places = Places::of(object);
        let invalid = format!("Your 'IsolationMode' configuration for function with arn {name} is invalid.");
        let own = places.field("Execution").object().map(|execution| Execution::read(execution, &invalid));
        let own = own.unwrap_or_default();
        let isolation = own.isolation.or(default.isolation).unwrap_or(IsolationMode::GreengrassContainer);
        let memory = read_memory(&places.field("MemorySize"), name, isolation);
        let access_sysfs = read_access_sysfs(&places.field("AccessSysfs"), name, isolation);
        let policies = places.field("ResourceAccessPolicies");
        let attachments = Attachment::read_all(&policies);
        let timeout = places.field("Timeout").integer(1..=u64::from(u32::MAX), "seconds").unwrap_or(TIMEOUT);
        let pinned = places.field("Pinned").boolean().unwrap_or(false);
        let encoding = places.field("EncodingType").choice(&Encoding::NAMES).unwrap_or(Encoding::Json);
        let executable = places.field("Executable").text().map(str::to_owned);
        let code = places.field("Code");
        let code = code.is_present().then(|| FunctionCode::read(&code, id.as_ref(), virtual_hosted_s3));
        let exec_args = places.field("ExecArgs").text().map(str::to_owned);
        let mut variables = places.environment.field("Variables").section();
        let own_settings = Own::read(&mut variables, isolation);
        let variables = read_variables(variables);
        places.finish();
        Some(Self {
            id: id?,
            arn: arn?,
            pinned,
            executable,
            code: code.map_or(Some(None), |code| code.map(Some))?,
            exec_args,
            memory,
            timeout: Duration::from_secs(timeout),
            encoding,
            variables,
            own: own_settings,
            access_sysfs,
            attachments: attachments?,
            attachments_place: policies.path().to_owned(),
            isolation,
            run_as: own.run_as.or(default.run_as),
        })
    }
}

/// A limit belongs to a container, and a container needs one (contract G3).
fn read_memory(field: &Field<'_>, arn: &str, isolation: IsolationMode) -> Option<ByteSize> {
    let rule = |verdict: &str| format!("MemorySize configuration for function with arn {arn} is {verdict}.");
    match (isolation, field.is_present()) {
        (IsolationMode::NoContainer, true) => {
            field.refuse(rule("not allowed in IsolationMode=NoContainer"), "remove the limit");
        }
        (IsolationMode::GreengrassContainer, false) => {
            field.refuse(rule("required in IsolationMode=GreengrassContainer"), "write the limit in KB, such as 16384");
        }
        _ => {}
    }
    field.integer(1..=u64::from(u32::MAX), "KB").map(ByteSize::from_kib)
}

fn read_access_sysfs(field: &Field<'_>, arn: &str, isolation: IsolationMode) -> bool {
    let access = field.boolean().unwrap_or(false);
    if access && isolation == IsolationMode::NoContainer {
        let rule = format!(
            "Access Sysfs configuration for function with arn {arn} is not allowed in IsolationMode=NoContainer."
        );
        field.refuse(rule, "write false, or run the function in a container");
    }
    access
}

fn read_variables(variables: Object<'_>) -> BTreeMap<String, String> {
    let entries = variables.into_entries().filter(|(name, _)| !own::NAMES.contains(name));
    entries.filter_map(|(name, field)| Some((name.to_owned(), field.secret().scalar()?))).collect()
}
