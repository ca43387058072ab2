//! The fuzz target of matching: any bytes in, a panic where the trie and the reading of MQTT 3.1.1 in
//! [`crate::topic`] disagree. A fuzzer, the kept corpus and a property test call it.

use std::collections::BTreeSet;

use super::trie::Trie;
use crate::topic::{Topic, TopicFilter};

/// Takes the lines of `bytes` that are topics as topics, those that are filters as filters, and matches each with each.
///
/// # Panics
/// Where the trie selects other filters than [`TopicFilter::matches`], or one of them twice.
pub fn fuzz_matching(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let topics: BTreeSet<Topic> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let filters: Vec<TopicFilter> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let mut trie = Trie::default();
    for (number, filter) in filters.iter().enumerate() {
        trie.insert(filter, number);
    }
    for topic in topics {
        let mut found = Vec::new();
        trie.select(&topic, &mut found);
        found.sort_unstable();
        let wanted: Vec<usize> = (0..filters.len()).filter(|number| filters[*number].matches(&topic)).collect();
        assert_eq!(found, wanted, "{topic} among {filters:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_kept_corpus_matches_as_the_standard_says() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/router");
        let files: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(files.len() >= 5, "the corpus is there");
        for file in files {
            fuzz_matching(&std::fs::read(file).unwrap());
        }
    }

    fn line() -> impl Strategy<Value = String> {
        let level = prop_oneof![
            4 => Just("a"), 4 => Just("b"), 2 => Just(""), 1 => Just("$a"), 1 => Just("é"), 3 => Just("+"), 2 => Just("#")
        ];
        proptest::collection::vec(level, 1..7).prop_map(|levels| levels.join("/"))
    }

    proptest! {
        #[test]
        fn the_trie_agrees_with_a_naive_matcher(lines in proptest::collection::vec(line(), 1..60)) {
            fuzz_matching(lines.join("\n").as_bytes());
        }

        #[test]
        fn no_bytes_make_them_disagree(bytes in proptest::collection::vec(
            prop_oneof![any::<u8>(), Just(b'/'), Just(b'+'), Just(b'#'), Just(b'$'), Just(b'\n'), Just(b'a')], 0..400)) {
            fuzz_matching(&bytes);
        }
    }
}
