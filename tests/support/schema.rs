//! The payload's published schema.

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

/// A compiled schema.
pub struct PayloadSchema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl PayloadSchema {
    /// `docs/payload.schema.json`.
    pub fn published() -> Self {
        Self::of(include_str!("../../docs/payload.schema.json"))
    }

    /// `docs/status.schema.json`.
    pub fn status() -> Self {
        Self::of(include_str!("../../docs/status.schema.json"))
    }

    /// `docs/health.schema.json`.
    pub fn health() -> Self {
        Self::of(include_str!("../../docs/health.schema.json"))
    }

    /// `docs/bench.schema.json`.
    pub fn bench() -> Self {
        Self::of(include_str!("../../docs/bench.schema.json"))
    }

    fn of(document: &str) -> Self {
        let document: Value = serde_json::from_str(document).unwrap();
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler.add_resource("payload", document).unwrap();
        let mut schemas = Schemas::new();
        let index = compiler.compile("payload", &mut schemas).unwrap();
        Self { schemas, index }
    }

    /// Asserts that `payload` is valid.
    #[track_caller]
    pub fn assert_valid(&self, payload: &Value) {
        if let Err(error) = self.schemas.validate(payload, self.index) {
            panic!("{payload} breaks the schema: {error:#}");
        }
    }

    /// Whether `payload` is valid.
    pub fn allows(&self, payload: &Value) -> bool {
        self.schemas.validate(payload, self.index).is_ok()
    }
}
