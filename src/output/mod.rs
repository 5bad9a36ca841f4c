//! One file per artifact kind.
