//! What the user wrote: the cluster file and profiles, parsed with positions.
