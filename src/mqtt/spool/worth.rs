//! What a message is worth when the spool is full: whoever publishes it knows, the spool does not look into payloads.

/// What a message is worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Worth {
    /// As much as any other.
    #[default]
    Ordinary,
    /// It says again, and with confidence, what the one before it on its topic said.
    Repeat,
    /// A user's function said it: functions may fill half of the spool with the messages of others behind them.
    OfFunction,
}

/// Which queued message makes room in a full spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest, as V1 does.
    #[default]
    DropOldest,
    /// The oldest [`Worth::Repeat`]; the oldest of all where there is none.
    DropRepeats,
}
