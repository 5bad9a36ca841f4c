//! One file per artifact kind.

pub(crate) mod initrd;
