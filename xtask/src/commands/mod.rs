//! One module for each task.

pub(crate) mod bench;
pub(crate) mod check_docs;
pub(crate) mod check_layers;
pub(crate) mod crash_test;
pub(crate) mod deny;
pub(crate) mod r#gen;
pub(crate) mod sandbox;
#[cfg(feature = "reference")]
pub(crate) mod serve_reference;
pub(crate) mod simulate;
pub(crate) mod test;
