//! The operating system: locked Debian packages become a tree.
