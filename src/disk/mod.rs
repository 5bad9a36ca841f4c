//! Byte formats: each module implements one format, independently of kiln's purpose and without reading the
//! clock.

pub(crate) mod bolt;
pub(crate) mod contents;
pub(crate) mod cpio;
pub(crate) mod etcd;
pub(crate) mod fat;
pub(crate) mod gpt;
pub(crate) mod guid;
pub(crate) mod pe;
pub(crate) mod qcow2;
pub(crate) mod segments;
pub(crate) mod sparse;
pub(crate) mod squashfs;
pub(crate) mod tar;
pub(crate) mod uki;
pub(crate) mod verity;
pub(crate) mod virtual_disk;
