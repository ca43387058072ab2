//! Who sends and who receives: the two ends of a subscription.

use std::fmt;

/// What can stand at either end of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// `cloud`: AWS IoT Core, or the broker in its place.
    Cloud,
    /// `GGShadowService`: the local shadow service.
    ShadowService,
    /// A Lambda function, by its qualified ARN.
    Function(String),
    /// A connector, by its ARN.
    Connector(String),
    /// A device of the group, by its thing ARN.
    Device(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cloud => f.write_str("cloud"),
            Self::ShadowService => f.write_str("GGShadowService"),
            Self::Function(arn) | Self::Connector(arn) | Self::Device(arn) => f.write_str(arn),
        }
    }
}
