//! Random bytes, for keys, identifiers and tokens.

use crate::error::{Error, Kind, Result};

/// Returns random bytes.
pub(crate) fn bytes<const SIZE: usize>() -> Result<[u8; SIZE]> {
    let mut bytes = [0; SIZE];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(Error::new(Kind::Internal, "the random number generator failed")),
    }
}

/// Returns a random 128-bit number.
pub(crate) fn number() -> Result<u128> {
    bytes().map(u128::from_be_bytes)
}
