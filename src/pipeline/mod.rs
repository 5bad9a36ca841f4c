//! The build as a story: each step decides for itself whether there is work.
