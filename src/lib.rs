//! kiln turns one cluster file into highly available Kubernetes appliances. This file lists the rooms;
//! `docs/architecture.md` describes them.

mod agent;
mod base;
mod cli;
mod cluster;
mod config;
mod digest;
mod disk;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod host;
mod import;
#[cfg(test)]
mod judge;
mod lab;
mod lint;
mod output;
mod overlay;
mod pipeline;
mod pki;
mod plan;
mod profile;
mod progress;
mod render;
mod seed;
mod segment;
mod store;
mod tree;
mod words;
mod yaml;

/// Runs the command line and returns its exit code.
pub fn main() -> std::process::ExitCode {
    // Sandbox processes start here too, and must stay single-threaded.
    if let Some(code) = host::sandbox::enter_if_asked() {
        return code.into();
    }
    cli::main()
}
