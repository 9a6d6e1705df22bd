//! Finds what somebody probably meant to write.

/// The candidate that is so near that it was probably meant.
pub(super) fn nearest<'c>(
    word: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    // Comparing is quadratic in the length, and nobody mistypes a name of this length into another.
    if word.len() > 100 {
        return None;
    }
    let folded = fold(word);
    candidates
        .filter(|candidate| *candidate != word && candidate.len() <= 255)
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&folded, &fold(candidate)),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `_` for `-` and capitals are mistakes that cost nothing.
fn fold(word: &str) -> String {
    word.to_lowercase().replace('_', "-")
}

/// `"a", "b" or "c"`.
pub(super) fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// Help for a name that nothing defines: the nearest of those that are, or some of them.
pub(super) fn for_name<'c>(
    name: &str,
    what: &str,
    defined: impl Iterator<Item = &'c str> + Clone,
) -> String {
    if let Some(nearest) = nearest(name, defined.clone()) {
        return format!("did you mean \"{nearest}\"?");
    }
    let some: Vec<&str> = defined.clone().take(8).collect();
    if some.is_empty() {
        return format!("the policy defines no {what}; write [{what}s.{name}]");
    }
    let more = defined.count() - some.len();
    let and_more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!(
        "the policy has {}{and_more}; or define [{what}s.{name}]",
        some.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_letter_is_recognised() {
        let keys = ["priority", "preempts", "unit"];
        assert_eq!(nearest("pirority", keys.into_iter()), Some("priority"));
        assert_eq!(nearest("prioritty", keys.into_iter()), Some("priority"));
    }

    #[test]
    fn the_other_dash_and_capitals_are_recognised() {
        assert_eq!(
            nearest("Max_Wait", ["max-wait", "max-runtime"].into_iter()),
            Some("max-wait")
        );
    }

    #[test]
    fn something_else_altogether_suggests_nothing() {
        assert_eq!(nearest("colour", ["unit", "after"].into_iter()), None);
    }

    #[test]
    fn lists_read_as_a_sentence() {
        assert_eq!(list(&["a"]), "\"a\"");
        assert_eq!(list(&["a", "b", "c"]), "\"a\", \"b\" or \"c\"");
    }
}
