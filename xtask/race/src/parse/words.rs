// SPDX-License-Identifier: GPL-2.0

//! Choosing among words, and saying which one was probably meant.

/// The candidate that is nearest to `word`, where any is near.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let other = candidate.to_lowercase();
            (strsim::damerau_levenshtein(&lower, &other), candidate)
        })
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The hint that goes with it; where none is near, all that there are.
pub fn hint<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    if let Some(near) = nearest(word, candidates.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let all: Vec<&str> = candidates.into_iter().collect();
    (!all.is_empty()).then(|| format!("there is {}", all.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_is_near() {
        let points = ["dio.submit", "dio.complete", "fsync.begin"];
        assert_eq!(nearest("dio.sumbit", points), Some("dio.submit"));
        assert_eq!(nearest("Fsync.begin", points), Some("fsync.begin"));
        assert_eq!(nearest("page.locked", points), None);
        assert_eq!(nearest("B", ["A"]), Some("A"));
    }
}
