//! What a user can type: one file per verb. The only user of stdout, stderr and progress bars.
