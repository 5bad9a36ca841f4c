//! "Did you mean": the known word that a misspelt one is closest to.

/// The candidate that differs least from `word`, if it differs so little that it was probably meant.
pub(crate) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase().replace('_', "-");
    let scored = candidates.into_iter().map(|candidate| (strsim::jaro_winkler(&word, candidate), candidate));
    scored.filter(|(score, _)| *score > 0.8).max_by(|first, second| first.0.total_cmp(&second.0)).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn a_typo_finds_its_word_and_nonsense_finds_none() {
        let words = ["address", "extra-addresses", "name", "roles"];
        assert_eq!(closest("adress", words), Some("address"));
        assert_eq!(closest("extra_addresses", words), Some("extra-addresses"));
        assert_eq!(closest("Name", words), Some("name"));
        assert_eq!(closest("colour", words), None);
    }
}
