//! Progress of long-running work, independent of how it is displayed. `cli` draws bars or prints plain lines;
//! tests are silent.

/// Progress receiver.
pub(crate) trait Progress: Sync {
    /// Begins one step of known (bytes or items) or unknown size. The step ends when the returned value is
    /// dropped.
    fn begin(&self, step: &str, total: Option<u64>) -> Box<dyn Step>;

    /// Reports a warning that did not stop the work.
    fn warn(&self, _message: &str) {}
}

/// A step in progress.
pub(crate) trait Step: Send + Sync {
    /// Reports `amount` more bytes or items.
    fn advance(&self, amount: u64);
}

/// Progress receiver that ignores everything.
#[derive(Debug)]
pub(crate) struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: Option<u64>) -> Box<dyn Step> {
        Box::new(Self)
    }
}

impl Step for Silent {
    fn advance(&self, _: u64) {}
}
