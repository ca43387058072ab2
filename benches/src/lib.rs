//! Measurements of Margay's hot paths: `benches/hot_paths.rs`. There is no code here.
#![forbid(unsafe_code)]
