//! Components as read from the binary or a directory.
