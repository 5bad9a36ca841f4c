//! The local rehearsal of the exact artifacts.
