//! What a list consists of.

/// A group of system calls with the reason why it is allowed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers of the list; a test insists on it"))]
    pub reason: &'static str,
    pub calls: &'static [libc::c_long],
}

/// A call that is allowed only with some arguments.
#[derive(Debug)]
pub(super) struct Restricted {
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers of the list; a test insists on it"))]
    pub reason: &'static str,
    pub call: libc::c_long,
    /// Each alternative allows; all of its tests have to pass.
    pub alternatives: &'static [&'static [Test]],
}

/// A test of the lower 32 bits of one argument: flags, commands and address families are that wide in the kernel.
#[derive(Debug, Clone, Copy)]
pub(super) enum Test {
    Is {
        argument: u8,
        value: u32,
    },
    IsNot {
        argument: u8,
        value: u32,
    },
    HasNone {
        argument: u8,
        bits: u32,
    },
    /// Of the bits in `mask`, exactly those of `value` are set.
    HasOnly {
        argument: u8,
        mask: u32,
        value: u32,
    },
    /// All 64 bits are zero.
    IsNull {
        argument: u8,
    },
}
