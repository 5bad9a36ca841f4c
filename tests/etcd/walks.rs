//! Explores all histories of the model for a given number of members and events.

use kiln_model::{Fault, Look, Model, Walk};

fn walk(members: u8, events: u8, look: Look) -> Walk {
    let model = Model { members, events, look, fault: None };
    model.walk().unwrap_or_else(|broken| panic!("{model:?}: {broken}"))
}

/// Walks all histories and prints how much was visited.
pub(crate) fn visit(members: u8, events: u8, look: Look) -> Walk {
    let walk = walk(members, events, look);
    let Walk { states, at_rest, waiting, decisions } = &walk;
    #[expect(clippy::print_stderr, reason = "how much was visited is part of the result")]
    {
        eprintln!(
            "{members} members, {events} events, {look:?}: {states} states, {at_rest} at rest ({waiting} \
            wait for a person), {} decisions",
            decisions.len()
        );
    }
    walk
}

/// Checks that the walk detects each faulty rule.
pub(crate) fn faults() {
    for fault in [Fault::FoundsWithMajority, Fault::KeepsIdentifier] {
        let broken =
            Model { members: 3, events: 5, look: Look::AtOnce, fault: Some(fault) }.walk().unwrap_err();
        assert!(
            broken.starts_with("a majority continues without what 2 acknowledged"),
            "{fault:?}: {broken}"
        );
    }
}
