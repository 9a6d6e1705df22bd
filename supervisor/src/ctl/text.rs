//! Text for a terminal: what it is wide, where it is cut, and what never reaches it.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Stands for what was cut off.
const ELLIPSIS: char = '…';

/// One line that does nothing to a terminal but fill cells.
///
/// Details name processes and units of others, which may carry escape sequences, newlines, or marks that
/// reverse the reading order; each such character becomes a `?`.
pub fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if harmless(c) { c } else { '?' })
        .collect()
}

/// As [`one_line`], but lines stay lines, and tabs tabs.
pub fn lines(text: &str) -> String {
    text.chars()
        .map(|c| {
            if harmless(c) || matches!(c, '\n' | '\t') {
                c
            } else {
                '?'
            }
        })
        .collect()
}

fn harmless(c: char) -> bool {
    let reorders =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !reorders && !matches!(c, '\u{2028}' | '\u{2029}')
}

/// How many cells it fills.
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// The text, or as much of its beginning as fits into so many cells, with an ellipsis.
pub fn fit(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    let Some(room) = cells.checked_sub(1) else {
        return String::new();
    };
    let mut cut = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > room {
            break;
        }
        cut.push(c);
    }
    cut.truncate(cut.trim_end().len());
    cut.push(ELLIPSIS);
    cut
}

/// The text with spaces up to so many cells.
pub fn pad(text: &str, cells: usize) -> String {
    let missing = cells.saturating_sub(width(text));
    format!("{text}{:missing$}", "")
}

/// Breaks each line at spaces so that it fits into so many cells; a longer word stays whole.
pub fn wrap(text: &str, cells: usize) -> String {
    text.lines()
        .map(|line| wrap_line(line, cells))
        .collect::<Vec<_>>()
        .join("\n")
}

fn wrap_line(line: &str, cells: usize) -> String {
    let mut wrapped = String::new();
    let mut used = 0;
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        let wide = width(word);
        if used > 0 && used + 1 + wide > cells {
            wrapped.push('\n');
            used = 0;
        } else if used > 0 {
            wrapped.push(' ');
            used += 1;
        }
        wrapped.push_str(word);
        used += wide;
    }
    wrapped
}

/// `1 task`, `2 tasks`.
pub fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// The names most like what was typed, best first, at most three.
pub fn nearest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let typed = typed.to_lowercase();
    let mut likely: Vec<(f64, &str)> = names
        .into_iter()
        .map(|name| (likeness(&typed, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .collect();
    likely.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    likely.dedup_by(|a, b| a.1 == b.1);
    likely.truncate(3);
    likely
        .into_iter()
        .map(|(_, name)| name.to_owned())
        .collect()
}

fn likeness(typed: &str, name: &str) -> f64 {
    // "dnf" means dnf-automatic, though most of the letters are missing.
    let part = typed.len() >= 3 && name.contains(typed);
    if part {
        0.9
    } else {
        strsim::jaro_winkler(typed, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_fits_is_left_as_it_is() {
        assert_eq!(fit("upcp", 4), "upcp");
        assert_eq!(fit("", 0), "");
    }

    #[test]
    fn longer_text_is_cut_with_an_ellipsis() {
        assert_eq!(fit("dnf-automatic", 8), "dnf-aut…");
        assert_eq!(
            fit("held by upcp", 9),
            "held by…",
            "no space before the ellipsis"
        );
        assert_eq!(fit("upcp", 1), "…");
        assert_eq!(fit("upcp", 0), "");
    }

    #[test]
    fn wide_characters_count_two_cells() {
        assert_eq!(width("更新"), 4);
        assert_eq!(fit("更新処理", 6), "更新…");
        assert_eq!(width(&pad("更新", 7)), 7);
    }

    #[test]
    fn combining_marks_take_no_cell() {
        assert_eq!(width("e\u{301}"), 1);
        assert_eq!(fit("e\u{301}te\u{301}", 3), "e\u{301}te\u{301}");
    }

    #[test]
    fn escape_sequences_and_reordering_marks_never_reach_the_terminal() {
        assert_eq!(one_line("\x1b[2Jdnf\n\u{202e}fnd\u{9b}"), "?[2Jdnf??fnd?");
        assert_eq!(lines("a\nb\r\u{7f}"), "a\nb??");
    }

    #[test]
    fn words_are_wrapped_and_long_ones_stay_whole() {
        assert_eq!(
            wrap("upcp waits for the RPM database", 12),
            "upcp waits\nfor the RPM\ndatabase"
        );
        assert_eq!(
            wrap("a dnf-automatic.service b", 6),
            "a\ndnf-automatic.service\nb"
        );
        assert_eq!(wrap("one\n\ntwo", 80), "one\n\ntwo");
    }

    #[test]
    fn a_typing_mistake_finds_the_name_and_nonsense_finds_none() {
        let names = ["dnf-automatic", "upcp", "refresh-links", "import"];
        assert_eq!(nearest("dnf-automatc", names), ["dnf-automatic"]);
        assert_eq!(nearest("dnf", names), ["dnf-automatic"]);
        assert_eq!(nearest("UPCP", names), ["upcp"]);
        assert!(nearest("zzz", names).is_empty());
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(count(1, "task"), "1 task");
        assert_eq!(count(0, "task"), "0 tasks");
    }
}
