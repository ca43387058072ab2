//! The known key that a mistyped one was probably meant to be.

use std::collections::BTreeSet;

/// The most changes by which a mistyped key may differ from the one that was meant.
const DISTANCE_LIMIT: usize = 2;
/// Longer keys are not compared: no known key is nearly as long.
const LENGTH_LIMIT: usize = 64;

/// The key in `known` that is `key` but for case, surrounding space or at most two changed characters.
pub(super) fn nearest(key: &str, known: &BTreeSet<&'static str>) -> Option<&'static str> {
    if key.len() > LENGTH_LIMIT {
        return None;
    }
    let wanted = key.trim().to_ascii_lowercase();
    let near = known.iter().map(|&candidate| (distance(&wanted, &candidate.to_ascii_lowercase()), candidate));
    let (distance, candidate) = near.min()?;
    // Two changes turn any two-letter key into any other.
    let close = distance <= DISTANCE_LIMIT && distance * 2 < wanted.chars().count();
    close.then_some(candidate)
}

/// The Levenshtein distance, one row at a time.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, from) in left.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, &to) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_changed_characters() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn a_mistyped_key_finds_the_one_that_was_meant_and_a_strange_one_finds_none() {
        let known = BTreeSet::from(["keepAlive", "iotHost", "ggHost"]);
        assert_eq!(nearest("KeepAlive", &known), Some("keepAlive"));
        assert_eq!(nearest(" iotHost", &known), Some("iotHost"));
        assert_eq!(nearest("keepAlve", &known), Some("keepAlive"));
        assert_eq!(nearest("xy", &known), None);
        assert_eq!(nearest("somethingElse", &known), None);
    }
}
