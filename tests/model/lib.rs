//! Every history of a few members of etcd, under the very rule that nodes decide by.

#[path = "../../src/agent/etcd/decide.rs"]
#[allow(dead_code, reason = "the agent uses all of it")]
pub mod decide;
mod walk;

pub use walk::{Fault, Look, Model, Walk};
