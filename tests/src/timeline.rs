//! Draws who ran and who waited when, as text for a terminal and as SVG.

use std::fmt::Write as _;

/// One chart: its rows share a time axis.
#[derive(Debug, Clone)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// From top to bottom.
    pub rows: Vec<Row>,
}

/// One task's line.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What it uses, shown behind the name.
    pub note: String,
    /// Its spans, in order.
    pub spans: Vec<Span>,
}

/// What a task did from one moment to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// Seconds since the epoch.
    pub from: f64,
    /// Seconds since the epoch.
    pub to: f64,
    /// What it did.
    pub kind: Kind,
}

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its start was asked for, and it hasn't begun.
    Waiting,
    /// It runs.
    Running,
    /// It runs while another one does that it mustn't meet.
    Colliding,
    /// A deployment has frozen it.
    Frozen,
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Self::Waiting => '·',
            Self::Running => '█',
            Self::Colliding => '▓',
            Self::Frozen => '░',
        }
    }

    fn fill(self) -> &'static str {
        match self {
            Self::Waiting => "#d8dee9",
            Self::Running => "#4c7a5d",
            Self::Colliding => "#bf4b4b",
            Self::Frozen => "#81a1c1",
        }
    }
}

impl Row {
    /// A row without spans.
    pub fn new(name: &str, note: &str) -> Self {
        Self {
            name: name.to_owned(),
            note: note.to_owned(),
            spans: Vec::new(),
        }
    }

    /// Adds a span; one that has no length is left out.
    pub fn push(&mut self, from: f64, to: f64, kind: Kind) {
        if to > from {
            self.spans.push(Span { from, to, kind });
        }
    }
}

impl Chart {
    /// First and last moment in it.
    fn limits(&self) -> (f64, f64) {
        let spans = || self.rows.iter().flat_map(|row| &row.spans);
        let from = spans().map(|span| span.from).fold(f64::INFINITY, f64::min);
        let to = spans()
            .map(|span| span.to)
            .fold(f64::NEG_INFINITY, f64::max);
        if from < to { (from, to) } else { (0.0, 1.0) }
    }

    fn label_width(&self) -> usize {
        let label = |row: &Row| row.name.chars().count() + row.note.chars().count() + 1;
        self.rows.iter().map(label).max().unwrap_or(0)
    }

    /// For a terminal that is `width` characters wide.
    pub fn text(&self, width: usize) -> String {
        let (from, to) = self.limits();
        let labels = self.label_width();
        let columns = width.saturating_sub(labels + 3).max(10);
        let column = |at: f64| ((at - from) / (to - from) * columns as f64) as usize;
        let mut text = format!("{}\n", self.title);
        for row in &self.rows {
            let mut cells = vec![' '; columns];
            for span in &row.spans {
                let first = column(span.from).min(columns - 1);
                // Whatever happened is seen, however short it was.
                let last = column(span.to).clamp(first + 1, columns);
                cells[first..last].fill(span.kind.letter());
            }
            let label = format!("{} {}", row.name, row.note);
            let line: String = cells.into_iter().collect();
            let _ = writeln!(text, "  {label:<labels$} {}", line.trim_end());
        }
        let seconds = format!("{:.1} s", to - from);
        let _ = writeln!(
            text,
            "  {:<labels$} 0{seconds:>rest$}",
            "",
            rest = columns - 1
        );
        text
    }
}

const ROW_HEIGHT: usize = 18;
const LABELS: usize = 230;
const PLOT: usize = 700;

/// All charts below each other.
pub fn svg(charts: &[Chart]) -> String {
    let rows: usize = charts.iter().map(|chart| chart.rows.len() + 3).sum();
    let (width, height) = (LABELS + PLOT + 40, rows * ROW_HEIGHT + 50);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let mut x = LABELS;
    for (kind, name) in [
        (Kind::Running, "runs"),
        (Kind::Waiting, "waits at its gate"),
        (Kind::Colliding, "runs into another"),
        (Kind::Frozen, "frozen by a deployment"),
    ] {
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"12\" width=\"20\" height=\"12\" fill=\"{}\"/><text x=\"{}\" y=\"22\">{name}</text>",
            kind.fill(),
            x + 26
        );
        x += 170;
    }
    let mut y = 50;
    for chart in charts {
        draw(&mut svg, chart, &mut y);
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, chart: &Chart, y: &mut usize) {
    let (from, to) = chart.limits();
    let x = |at: f64| LABELS as f64 + (at - from) / (to - from) * PLOT as f64;
    let _ = writeln!(
        svg,
        "<text x=\"10\" y=\"{}\" font-weight=\"bold\">{}</text>",
        *y + 12,
        escaped(&chart.title)
    );
    *y += ROW_HEIGHT + 4;
    for row in &chart.rows {
        let _ = writeln!(
            svg,
            "<text x=\"10\" y=\"{}\">{}<tspan fill=\"#888888\"> {}</tspan></text>",
            *y + 12,
            escaped(&row.name),
            escaped(&row.note)
        );
        for span in &row.spans {
            let _ = writeln!(
                svg,
                "<rect x=\"{:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{}\"><title>{}: {:.3} s to {:.3} s</title></rect>",
                x(span.from),
                *y + 2,
                (x(span.to) - x(span.from)).max(1.0),
                ROW_HEIGHT - 4,
                span.kind.fill(),
                escaped(&row.name),
                span.from - from,
                span.to - from
            );
        }
        *y += ROW_HEIGHT;
    }
    let _ = writeln!(
        svg,
        "<line x1=\"{LABELS}\" y1=\"{0}\" x2=\"{1}\" y2=\"{0}\" stroke=\"#888888\"/>\
         <text x=\"{1}\" y=\"{2}\" text-anchor=\"end\" fill=\"#888888\">{3:.1} s</text>",
        *y + 2,
        LABELS + PLOT,
        *y + 15,
        to - from
    );
    *y += 2 * ROW_HEIGHT - 4;
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        let mut a = Row::new("a", "r");
        a.push(0.0, 5.0, Kind::Running);
        let mut b = Row::new("b & c", "");
        b.push(0.0, 5.0, Kind::Waiting);
        b.push(5.0, 10.0, Kind::Running);
        b.push(7.0, 7.0, Kind::Colliding);
        Chart {
            title: "two <tasks>".into(),
            rows: vec![a, b],
        }
    }

    #[test]
    fn text_shows_who_ran_and_who_waited() {
        let text = chart().text(30);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(
            rows[1],
            "  a r    ██████████".replace("██████████", &"█".repeat(10))
        );
        assert!(
            rows[2].ends_with(&format!("{}{}", "·".repeat(10), "█".repeat(11))),
            "{text}"
        );
        assert!(rows.iter().all(|row| row.chars().count() <= 30), "{text}");
        assert!(rows[3].ends_with("10.0 s"), "{text}");
    }

    #[test]
    fn svg_is_escaped_and_balanced() {
        let svg = svg(&[chart()]);
        assert!(svg.contains("two &lt;tasks&gt;") && svg.contains("b &amp; c"));
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }

    #[test]
    fn an_empty_chart_can_be_drawn() {
        let empty = Chart {
            title: "nothing".into(),
            rows: vec![Row::new("a", "")],
        };
        assert!(empty.text(40).contains('a'));
        assert!(svg(&[empty]).contains("nothing"));
    }
}
