//! A table that fits its screen: wide columns give way first, and cut cells say so.

use super::output::{Screen, Style, paint};
use super::text;

/// Between two columns.
const GAP: usize = 2;

/// A column's heading and how far it gives way.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Heading.
    pub title: &'static str,
    /// It is never made narrower than this many cells, except on a screen narrower than all minima together.
    pub least: usize,
    /// Numbers stand at the right.
    pub right: bool,
}

impl Column {
    /// A column of text that gives way down to so many cells.
    pub const fn text(title: &'static str, least: usize) -> Self {
        Self {
            title,
            least,
            right: false,
        }
    }

    /// A column of numbers, never cut.
    pub const fn number(title: &'static str) -> Self {
        Self {
            title,
            least: usize::MAX,
            right: true,
        }
    }

    /// A column that is never cut.
    pub const fn whole(title: &'static str) -> Self {
        Self {
            title,
            least: usize::MAX,
            right: false,
        }
    }
}

/// What stands in one place of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// One line.
    pub text: String,
    /// How it looks on a terminal.
    pub style: Style,
}

impl Cell {
    /// Plain text; what could harm a terminal is taken out.
    pub fn new(content: &str) -> Self {
        Self::styled(content, Style::Plain)
    }

    /// The same with a colour.
    pub fn styled(content: &str, style: Style) -> Self {
        Self {
            text: text::one_line(content),
            style,
        }
    }
}

/// A list as a table on this screen, a row for each item; the sentence `none` if there is no item.
pub fn list<T>(
    columns: &[Column],
    items: &[T],
    none: &str,
    screen: &Screen,
    row: impl Fn(&T) -> Vec<Cell>,
) -> String {
    if items.is_empty() {
        return format!("{none}\n");
    }
    let rows: Vec<Vec<Cell>> = items.iter().map(row).collect();
    render(columns, &rows, screen.width, screen.colour)
}

/// The table's text, each line ended; `cells` is the width of the screen, `None` to cut nothing.
fn render(columns: &[Column], rows: &[Vec<Cell>], cells: Option<usize>, colour: bool) -> String {
    let widths = widths(columns, rows, cells);
    let heading = columns
        .iter()
        .map(|column| Cell::styled(column.title, Style::Heading))
        .collect();
    std::iter::once(&heading)
        .chain(rows)
        .map(|row: &Vec<Cell>| line(columns, row, &widths, colour))
        .collect()
}

fn line(columns: &[Column], row: &[Cell], widths: &[usize], colour: bool) -> String {
    // Nothing is padded behind the last text of a line.
    let last = row
        .iter()
        .rposition(|cell| !cell.text.is_empty())
        .unwrap_or(0);
    let mut line = String::new();
    for (at, ((column, cell), &wide)) in columns
        .iter()
        .zip(row)
        .zip(widths)
        .enumerate()
        .take(last + 1)
    {
        if at > 0 {
            line.push_str(&" ".repeat(GAP));
        }
        let shown = text::fit(&cell.text, wide);
        let blank = " ".repeat(wide.saturating_sub(text::width(&shown)));
        let shown = paint(&shown, cell.style, colour);
        match (column.right, at == last) {
            (true, _) => line.push_str(&format!("{blank}{shown}")),
            (false, true) => line.push_str(&shown),
            (false, false) => line.push_str(&format!("{shown}{blank}")),
        }
    }
    line.push('\n');
    line
}

/// Natural widths, of which the widest column that may still give way is narrowed until all fit.
fn widths(columns: &[Column], rows: &[Vec<Cell>], cells: Option<usize>) -> Vec<usize> {
    let natural = |at: usize| {
        let body = rows
            .iter()
            .filter_map(|row| row.get(at))
            .map(|cell| text::width(&cell.text));
        body.chain([text::width(columns[at].title)])
            .max()
            .unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..columns.len()).map(natural).collect();
    let Some(cells) = cells else { return widths };
    let gaps = GAP * columns.len().saturating_sub(1);
    let mut narrow = |least: &dyn Fn(usize) -> usize| {
        while widths.iter().sum::<usize>() + gaps > cells {
            let widest = (0..widths.len())
                .filter(|&at| widths[at] > least(at))
                .max_by_key(|&at| widths[at]);
            let Some(at) = widest else { return };
            widths[at] -= 1;
        }
    };
    narrow(&|at| columns[at].least);
    narrow(&|_| 1);
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::text("TASK", 10),
        Column::whole("STATE"),
        Column::number("N"),
        Column::text("DETAIL", 10),
    ];

    fn row(cells: [&str; 4]) -> Vec<Cell> {
        cells.into_iter().map(Cell::new).collect()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            row(["dnf-automatic", "waiting", "2", "for rpm-db"]),
            row(["upcp", "idle", "10", ""]),
        ];
        assert_eq!(
            render(&COLUMNS, &rows, Some(80), false),
            "TASK           STATE     N  DETAIL\n\
             dnf-automatic  waiting   2  for rpm-db\n\
             upcp           idle     10\n"
        );
    }

    #[test]
    fn long_names_are_cut_so_that_every_line_fits_eighty_cells() {
        let long = "x".repeat(255);
        let wide = "更新".repeat(60);
        let rows = [
            row([&long, "waiting", "1", &wide]),
            row([&wide, "blocked", "2", &long]),
        ];
        let table = render(&COLUMNS, &rows, Some(80), false);
        for line in table.lines() {
            assert!(
                text::width(line) <= 80,
                "{} cells: {line}",
                text::width(line)
            );
        }
        assert_eq!(table.matches('…').count(), 4);
        assert!(
            table.contains("waiting"),
            "a column that isn't cut stays whole"
        );
    }

    #[test]
    fn the_widest_column_gives_way_first() {
        let detail = "y".repeat(200);
        let rows = [row(["dnf-automatic", "waiting", "1", &detail])];
        let table = render(&COLUMNS, &rows, Some(80), false);
        assert!(table.contains("dnf-automatic "), "{table}");
    }

    #[test]
    fn without_a_width_nothing_is_cut() {
        let long = "x".repeat(255);
        let table = render(&COLUMNS, &[row([&long, "idle", "1", &long])], None, false);
        assert!(!table.contains('…'));
    }

    #[test]
    fn a_screen_narrower_than_all_minima_is_still_kept_to() {
        let rows = [row([
            "dnf-automatic",
            "waiting",
            "1",
            "for rpm-db, held by upcp",
        ])];
        let table = render(&COLUMNS, &rows, Some(16), false);
        assert!(table.lines().all(|line| text::width(line) <= 16), "{table}");
    }

    #[test]
    fn colour_changes_no_width() {
        let styled = vec![
            Cell::new("upcp"),
            Cell::styled("running", Style::Good),
            Cell::new("1"),
            Cell::new("x"),
        ];
        let coloured = render(&COLUMNS, std::slice::from_ref(&styled), Some(80), true);
        assert!(
            coloured.contains("\u{1b}[32mrunning\u{1b}[0m  "),
            "{coloured:?}"
        );
        let plain = render(&COLUMNS, &[styled], Some(80), false);
        assert!(!plain.contains('\u{1b}'));
    }
}
