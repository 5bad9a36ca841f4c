//! The content-addressed cache: downloads, stages, garbage collection.
