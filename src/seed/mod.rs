//! A node's sealed configuration and its carriers.
