//! The text in which metrics are told.
//!
//! Two dialects, which differ in how a counter's family is called: Prometheus' own text format, which
//! `promtool check metrics` and node_exporter's textfile collector read, gives it the full name (`_total`);
//! OpenMetrics 1.0 gives it the name without, states the unit, and ends with `# EOF`.

use std::fmt::{Display, Write as _};

/// A dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "prometheus" => Some(Self::Prometheus),
            "openmetrics" => Some(Self::OpenMetrics),
            _ => None,
        }
    }
}

/// What a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    Counter,
    Histogram,
    /// A constant 1 whose labels say something.
    Info,
}

/// Text that grows by family.
#[derive(Debug)]
pub(super) struct Exposition {
    format: Format,
    text: String,
}

impl Exposition {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            text: String::new(),
        }
    }

    /// Begins a family. The name is without `_total` and `_info`; it ends in the unit, if there is one.
    pub(super) fn family(
        &mut self,
        name: &'static str,
        kind: Kind,
        unit: &'static str,
        help: &str,
    ) -> Family<'_> {
        debug_assert!(name.ends_with(unit), "{name} isn't in {unit}");
        let suffix = match kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        let (family, kind) = match (self.format, kind) {
            (Format::OpenMetrics, Kind::Info) => (name.to_owned(), "info"),
            (Format::OpenMetrics, _) => (name.to_owned(), word(kind)),
            (Format::Prometheus, Kind::Info) => (format!("{name}{suffix}"), "gauge"),
            (Format::Prometheus, _) => (format!("{name}{suffix}"), word(kind)),
        };
        let text = &mut self.text;
        // Writing to a String can't fail.
        let _ = writeln!(text, "# HELP {family} {}", escaped_help(help));
        let _ = writeln!(text, "# TYPE {family} {kind}");
        if self.format == Format::OpenMetrics && !unit.is_empty() {
            let _ = writeln!(text, "# UNIT {family} {unit}");
        }
        Family {
            text,
            name: format!("{name}{suffix}"),
            format: self.format,
        }
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Gauge | Kind::Info => "gauge",
        Kind::Counter => "counter",
        Kind::Histogram => "histogram",
    }
}

/// A family's samples.
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: String,
    format: Format,
}

impl Family<'_> {
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        self.line("", labels, value)
    }

    /// `counts` are of each bucket alone, one more than `bounds`.
    pub(super) fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        bounds: &[u64],
        counts: &[u64],
        sum: impl Display,
    ) -> &mut Self {
        let mut total = 0;
        for (at, count) in counts.iter().enumerate() {
            total += count;
            let bound = match (bounds.get(at), self.format) {
                (None, _) => "+Inf".to_owned(),
                (Some(bound), Format::Prometheus) => bound.to_string(),
                // There it is a float, written as one.
                (Some(bound), Format::OpenMetrics) => format!("{bound}.0"),
            };
            let mut labels = labels.to_vec();
            labels.push(("le", &bound));
            self.line("_bucket", &labels, total);
        }
        self.line("_sum", labels, sum);
        self.line("_count", labels, total)
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        let _ = write!(self.text, "{}{suffix}", self.name);
        for (at, (name, value)) in labels.iter().enumerate() {
            let before = if at == 0 { "{" } else { "," };
            let _ = write!(self.text, "{before}{name}=\"{}\"", escaped_value(value));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{after} {value}");
        self
    }
}

/// Microseconds as seconds.
pub(super) fn seconds(usec: u64) -> String {
    let (whole, rest) = (usec / 1_000_000, usec % 1_000_000);
    match rest {
        0 => whole.to_string(),
        rest => format!("{whole}.{rest:06}")
            .trim_end_matches('0')
            .to_owned(),
    }
}

fn escaped_help(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

fn escaped_value(text: &str) -> String {
    escaped_help(text).replace('"', "\\\"")
}
