//! What tract says of a model that it refuses, fit for one line of a message.

use tract_onnx::prelude::TractError;

/// Name of the engine.
pub const ENGINE: &str = "tract";

/// Longest reason that is passed on, in characters: tract prints whole operators.
const MAX_REASON_CHARS: usize = 300;

/// tract's chain of reasons, innermost first because that one says most, on one line of bounded length.
pub(super) fn one_line(error: &TractError) -> String {
    let reasons: Vec<String> = error.chain().map(ToString::to_string).collect();
    let words: Vec<&str> = reasons.iter().rev().flat_map(|reason| reason.split_whitespace()).collect();
    let line = words.join(" ");
    match line.char_indices().nth(MAX_REASON_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
