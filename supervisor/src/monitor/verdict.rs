//! A check's result in the form of the Monitoring Plugins' guidelines: one line with performance data, then
//! long output; the exit status says how bad it is.

use std::fmt::Write as _;

use serde::Serialize;

/// How bad it is; the worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// All is well.
    Ok,
    /// It can't be told.
    Unknown,
    /// Somebody should look.
    Warning,
    /// Somebody must look.
    Critical,
}

impl Status {
    /// The exit status.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    /// In capitals.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Something that isn't well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad.
    pub status: Status,
    /// What, for the one line.
    pub text: String,
    /// Lines for the long output.
    pub details: Vec<String>,
}

/// A number with what it is measured against.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Performance {
    /// As `failed:import`.
    pub label: String,
    /// In the unit.
    pub value: f64,
    /// `s`, or empty for a number of things.
    pub unit: &'static str,
    /// From where on it is a warning.
    pub warning: Option<f64>,
    /// From where on it is critical.
    pub critical: Option<f64>,
}

/// The result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The worst of the problems'.
    pub status: Status,
    /// What is told if there is no problem.
    pub summary: String,
    /// The worst first.
    pub problems: Vec<Problem>,
    /// What else is worth knowing, a line each.
    pub notes: Vec<String>,
    /// Performance data.
    pub performance: Vec<Performance>,
}

impl Verdict {
    /// Sorts the problems; the worst decides.
    pub fn new(
        summary: String,
        mut problems: Vec<Problem>,
        notes: Vec<String>,
        performance: Vec<Performance>,
    ) -> Self {
        problems.sort_by_key(|problem| std::cmp::Reverse(problem.status));
        Self {
            status: problems.first().map_or(Status::Ok, |worst| worst.status),
            summary,
            problems,
            notes,
            performance,
        }
    }

    /// Of one problem alone, without any facts.
    pub fn of(status: Status, text: String, details: Vec<String>) -> Self {
        let problem = Problem {
            status,
            text,
            details,
        };
        Self::new(String::new(), vec![problem], Vec::new(), Vec::new())
    }

    /// As a checker reads it.
    pub fn render(&self) -> String {
        let told: Vec<String> = self.problems.iter().map(|it| plain(&it.text)).collect();
        let told = match told.is_empty() {
            true => plain(&self.summary),
            false => told.join("; "),
        };
        let mut text = format!("INTERLOCK {}: {told}", self.status.name());
        for (at, it) in self.performance.iter().enumerate() {
            text.push_str(if at == 0 { " | " } else { " " });
            // Writing to a String can't fail.
            let _ = write!(text, "'{}'={}{}", label(&it.label), it.value, it.unit);
            let limit = |limit: Option<f64>| limit.map_or(String::new(), |it| it.to_string());
            let _ = write!(text, ";{};{};0", limit(it.warning), limit(it.critical));
        }
        text.push('\n');
        for problem in &self.problems {
            if problem.details.is_empty() {
                continue;
            }
            let _ = writeln!(text, "{}: {}", problem.status.name(), plain(&problem.text));
            for line in &problem.details {
                let _ = writeln!(text, "  {}", plain(line));
            }
        }
        if !self.problems.is_empty() && !self.summary.is_empty() {
            let _ = writeln!(text, "{}", plain(&self.summary));
        }
        for note in &self.notes {
            let _ = writeln!(text, "{}", plain(note));
        }
        text
    }
}

impl Verdict {
    /// As one JSON object.
    pub fn json(&self) -> String {
        // Nothing of it can fail to be written: no maps, no foreign types.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// A vertical bar would begin performance data, a line break the long output.
fn plain(text: &str) -> String {
    let one: Vec<&str> = text.split_whitespace().collect();
    one.join(" ").replace('|', "/")
}

/// Neither quotes nor an equals sign.
fn label(text: &str) -> String {
    plain(text).replace(['\'', '='], "_")
}
