//! "Did you mean": the known word closest to a misspelt one.

/// Returns the candidate closest to `word`, if it is close enough to be what the user probably meant.
pub(crate) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase().replace('_', "-");
    let scored = candidates.into_iter().map(|candidate| (strsim::jaro_winkler(&word, candidate), candidate));
    scored
        .filter(|(score, _)| *score > 0.8)
        .max_by(|first, second| first.0.total_cmp(&second.0))
        .map(|(_, candidate)| candidate)
}

/// Returns the candidate that is one typing error away from `word`: an extra, missing or wrong letter, or two
/// swapped letters.
pub(crate) fn slip<'a>(word: &str, mut candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .find(|other| other.len().abs_diff(word.len()) <= 1 && strsim::damerau_levenshtein(other, word) == 1)
}

#[cfg(test)]
mod tests {
    use super::{closest, slip};

    #[test]
    fn a_slip_is_one_letter_and_no_more() {
        let find = |word: &str| slip(word, ["Restart", "RestartSec"].into_iter());
        assert_eq!(["Restat", "Retsart", "Restarts"].map(find), [Some("Restart"); 3]);
        assert_eq!(["Restart", "Rstar", "Start"].map(find), [None; 3]);
    }

    #[test]
    fn a_typo_finds_its_word_and_nonsense_finds_none() {
        let words = ["address", "extra-addresses", "name", "roles"];
        assert_eq!(closest("adress", words), Some("address"));
        assert_eq!(closest("extra_addresses", words), Some("extra-addresses"));
        assert_eq!(closest("Name", words), Some("name"));
        assert_eq!(closest("colour", words), None);
    }
}
