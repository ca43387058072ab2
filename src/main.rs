//! The `margay` program: hand over to the sandbox launcher where that is asked, otherwise run the command line.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    // The launcher of a sandbox is this same program: it must not parse options, start a runtime or touch the log.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == margay_sandbox::LAUNCH_ARGUMENT) {
        margay_sandbox::launcher_main();
    }
    margay::cli::main()
}
