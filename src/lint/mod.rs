//! Known bad practice: one table, one row a lint, explained.
