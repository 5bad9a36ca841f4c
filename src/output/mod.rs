//! One file per artifact kind.

mod cloud_init;
pub(crate) mod initrd;
