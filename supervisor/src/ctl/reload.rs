//! `interlockctl reload`: interlockd reads the policy again.

use super::client::Client;
use super::error::{CtlError, Outcome};
use super::{output, text};

/// Asks and prints.
pub async fn run(client: &Client) -> Result<Outcome, CtlError> {
    let (state, diagnostics) = client.reload().await?;
    output::print(&render(&state, &diagnostics))?;
    Ok(outcome(&state))
}

fn outcome(state: &str) -> Outcome {
    if state == "good" {
        Outcome::Done
    } else {
        Outcome::PolicyErrors
    }
}

fn render(state: &str, diagnostics: &[String]) -> String {
    let mut out: String = diagnostics
        .iter()
        .map(|line| format!("{}\n", text::one_line(line)))
        .collect();
    out.push_str(match state {
        "good" => "The policy is good and in effect.\n",
        "last-good" => {
            "The policy has errors. Where a fragment has some, its last good text stays in effect;\n\
             interlockctl verify shows them with their lines.\n"
        }
        "partial" => {
            "The policy has errors. Tasks of a bad fragment are blocked, the rest is in effect;\n\
             interlockctl verify shows them with their lines.\n"
        }
        other => return format!("{out}The policy's state is {}.\n", text::one_line(other)),
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_policy_says_so_and_exits_well() {
        assert_eq!(render("good", &[]), "The policy is good and in effect.\n");
        assert_eq!(outcome("good"), Outcome::Done);
    }

    #[test]
    fn every_diagnostic_is_a_line_and_errors_show_in_the_exit_status() {
        let lines = [
            "10.toml:1:1: error: a".to_owned(),
            "20.toml:2:2: error: b".to_owned(),
        ];
        for state in ["last-good", "partial"] {
            let text = render(state, &lines);
            assert!(text.starts_with(
                "10.toml:1:1: error: a\n20.toml:2:2: error: b\nThe policy has errors."
            ));
            assert!(text.lines().all(|line| text::width(line) <= 90), "{text}");
            assert_eq!(outcome(state), Outcome::PolicyErrors);
        }
    }
}
