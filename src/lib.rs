//! kiln: one cluster file becomes highly available Kubernetes appliances. The list of rooms; `docs/architecture.md` is their map.

mod agent;
mod base;
mod cli;
mod cluster;
mod config;
mod digest;
mod disk;
mod error;
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
    // A sandbox's own processes come this way too, and must stay single-threaded.
    if let Some(code) = host::sandbox::enter_if_asked() {
        return code.into();
    }
    cli::main()
}
