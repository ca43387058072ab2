//! What Margay adds to a function's settings. V1's documents have no place for it, so that it stands among the function's
//! variables, which another core would pass on unread; the function does not see these.

use crate::document::{Field, Object};

use super::execution::IsolationMode;

/// The names of the variables.
pub(super) const NAMES: [&str; 4] = [NETWORK, ROOT, CPU_WEIGHT, CPU_QUOTA];

const NETWORK: &str = "MARGAY_NETWORK";
const ROOT: &str = "MARGAY_ROOT";
const CPU_WEIGHT: &str = "MARGAY_CPU_WEIGHT";
const CPU_QUOTA: &str = "MARGAY_CPU_QUOTA";

/// The most processors that a quota can name.
const MOST_PROCESSORS: u64 = 256;

/// A container that is tighter than V1's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Own {
    /// `MARGAY_NETWORK`: what it sees of the network.
    pub network: FunctionNetwork,
    /// `MARGAY_ROOT`: whether it may write to its layer over the host's root.
    pub root: FunctionRoot,
    /// `MARGAY_CPU_WEIGHT`, 1 to 10000 (100 is everybody's), and `MARGAY_CPU_QUOTA`, in hundredths of one processor.
    pub cpu: CpuShare,
}

/// A share of the processors; what is not said is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuShare {
    /// The weight against others when together they want more than there is.
    pub weight: Option<u16>,
    /// The most it may use, in hundredths of one processor.
    pub quota: Option<u16>,
}

/// What a function in a container sees of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FunctionNetwork {
    /// The host's, as in V1.
    #[default]
    Host,
    /// One of its own, in which only the core is.
    None,
}

/// What a function in a container may do with the host's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FunctionRoot {
    /// Write to a private layer over it, as in V1.
    #[default]
    Layer,
    /// Read it.
    ReadOnly,
}

impl Own {
    /// Reads the variables that are Margay's.
    pub(super) fn read(variables: &mut Object<'_>, isolation: IsolationMode) -> Self {
        let mut field = |name: &'static str| {
            let field = variables.field(name);
            refuse_outside_of_containers(&field, name, isolation);
            field
        };
        let network = field(NETWORK).choice(&[("host", FunctionNetwork::Host), ("none", FunctionNetwork::None)]);
        let root = field(ROOT).choice(&[("layer", FunctionRoot::Layer), ("read-only", FunctionRoot::ReadOnly)]);
        let weight = field(CPU_WEIGHT).integer(1..=10_000, "against everybody else's 100");
        let quota = field(CPU_QUOTA).integer(1..=MOST_PROCESSORS * 100, "hundredths of one processor");
        let [weight, quota] = [weight, quota].map(|number| number.and_then(|number| u16::try_from(number).ok()));
        Self { network: network.unwrap_or_default(), root: root.unwrap_or_default(), cpu: CpuShare { weight, quota } }
    }
}

fn refuse_outside_of_containers(field: &Field<'_>, name: &str, isolation: IsolationMode) {
    if field.is_present() && isolation == IsolationMode::NoContainer {
        field.refuse(
            format!("{name} is not allowed in IsolationMode=NoContainer"),
            "remove it, or run the function in a container",
        );
    }
}
