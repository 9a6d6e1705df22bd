//! `interlockctl why TASK`: one paragraph about what a task waits for.

use super::cli::WhyArgs;
use super::client::Client;
use super::error::{CtlError, Outcome};
use super::output::{self, Screen};
use super::text;

/// Asks and prints.
pub async fn run(client: &Client, args: &WhyArgs) -> Result<Outcome, CtlError> {
    let explanation = client.explain(&args.task).await?;
    if args.json {
        let mut details = client.details(&client.object(&args.task).await?).await?;
        details.explanation = explanation;
        output::print_json(&details)?;
    } else {
        output::print(&render(&explanation, &Screen::of_stdout(false)))?;
    }
    Ok(Outcome::Done)
}

fn render(explanation: &str, screen: &Screen) -> String {
    let safe = text::lines(explanation.trim_end());
    let safe = screen
        .prose()
        .map_or(safe.clone(), |cells| text::wrap(&safe, cells));
    format!("{safe}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPLANATION: &str = "upcp waits at its gate since 02:00:12 (3min 4s) for rpm-db, \
                               which dnf-automatic.service holds since 01:58:00.";

    #[test]
    fn a_terminal_gets_broken_lines() {
        let screen = Screen {
            width: Some(50),
            colour: false,
            terminal: true,
        };
        let text = render(EXPLANATION, &screen);
        assert!(
            text.lines().count() == 3 && text.lines().all(|line| text::width(line) <= 50),
            "{text}"
        );
    }

    #[test]
    fn a_pipe_gets_one_line() {
        let screen = Screen {
            width: Some(80),
            colour: false,
            terminal: false,
        };
        assert_eq!(render(EXPLANATION, &screen), format!("{EXPLANATION}\n"));
    }
}
