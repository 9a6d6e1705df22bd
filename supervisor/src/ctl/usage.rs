//! What is said about a command line that makes no sense, and where its help goes.

use std::io;

use super::{output, text};

/// Cells of a line that somebody reads. Arguments may be 128 KB long, and come from files that others have named.
const LINE: usize = 300;

/// Prints what clap has to say; the exit status.
pub fn tell(error: &clap::Error) -> u8 {
    if error.use_stderr() {
        let said = error.to_string();
        let shown = clean(&said);
        match shown == said {
            // In its colours.
            true => drop(error.print()),
            false => output::complain_of(&shown),
        }
        return exit_code(error);
    }
    match error.print() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            output::complain(&format!("can't write to standard output: {error}"));
            1
        }
        _ => exit_code(error),
    }
}

fn exit_code(error: &clap::Error) -> u8 {
    u8::try_from(error.exit_code()).unwrap_or(2)
}

/// The same in lines that do nothing to a terminal and that somebody reads.
pub fn clean(said: &str) -> String {
    let lines = text::lines(said);
    let lines = lines.split('\n').map(|line| text::fit(line, LINE));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::ctl::cli::Cli;

    fn said(words: &[&str]) -> String {
        let words = ["interlockctl"].iter().chain(words);
        let error = Cli::try_parse_from(words).unwrap_err();
        clean(&error.to_string())
    }

    #[test]
    fn what_was_typed_wrong_is_told_as_clap_does() {
        let error = Cli::try_parse_from(["interlockctl", "stat"]).unwrap_err();
        assert_eq!(said(&["stat"]), error.to_string());
    }

    #[test]
    fn neither_escape_sequences_nor_endless_words_are_given_back() {
        let long = "x".repeat(100_000);
        for words in [
            &["\u{1b}[2Jstatus"][..],
            &[&long],
            &["status", &format!("--{long}")],
            &["hold", "a", "--reason", "r", "--for", &long],
            &["queue", "list", "--limit", "\u{202e}1\u{9b}"],
        ] {
            let said = said(words);
            assert!(said.len() < 1000, "{} bytes", said.len());
            assert!(
                said.contains("error: ") && !said.contains(['\u{1b}', '\u{9b}', '\u{202e}']),
                "{said:?}"
            );
        }
    }
}
