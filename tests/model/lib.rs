//! Explores every history of a small etcd cluster, using the decision rule that the nodes use.

#[path = "../../src/agent/etcd/decide.rs"]
#[allow(dead_code, reason = "the agent uses all of it")]
pub mod decide;
mod walk;

pub use walk::{Fault, Look, Model, Walk};
