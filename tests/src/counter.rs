//! What a counting task wrote: whether it was at rest, and whether it lost a number.

/// Where tasks write their counters, inside the container: `count.UNIT`.
pub const PREFIX: &str = "/var/lib/testbed/count.";

/// The counter of a task, in the order in which it was written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counter {
    lines: Vec<(f64, u64)>,
}

impl Counter {
    /// Reads the file's text; an unfinished last line is left out.
    pub fn parse(text: &str) -> Self {
        let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
        let lines = complete.lines().filter_map(|line| {
            let (at, number) = line.split_once(' ')?;
            Some((at.parse().ok()?, number.parse().ok()?))
        });
        Self {
            lines: lines.collect(),
        }
    }

    /// How many numbers it wrote.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether it wrote nothing yet.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The first number that doesn't follow the one before it: one was lost, or it began anew.
    pub fn gap(&self) -> Option<String> {
        let mut numbers = (0..).zip(&self.lines);
        let (expected, (_, number)) = numbers.find(|(expected, (_, number))| expected != number)?;
        Some(format!("{number} where {expected} should be"))
    }

    /// When it wrote numbers from one moment to another, all in seconds since the epoch.
    pub fn between(&self, from: f64, to: f64) -> Vec<f64> {
        let times = self.lines.iter().map(|(at, _)| *at);
        times.filter(|at| (from..to).contains(at)).collect()
    }

    /// When it wrote the first number after this moment, in seconds since the epoch.
    pub fn next(&self, after: f64) -> Option<f64> {
        self.lines.iter().map(|(at, _)| *at).find(|at| *at >= after)
    }

    /// The longest time without a number: from when to when, in seconds since the epoch.
    pub fn longest_pause(&self) -> Option<(f64, f64)> {
        self.lines
            .windows(2)
            .map(|pair| (pair[0].0, pair[1].0))
            .max_by(|one, other| (one.1 - one.0).total_cmp(&(other.1 - other.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_no_gap_and_a_lost_number_is() {
        let counter = Counter::parse("1.0 0\n1.5 1\n9.0 2\n9.5 3\n9.9");
        assert_eq!(counter.gap(), None);
        assert_eq!(counter.len(), 4);
        assert_eq!(counter.longest_pause(), Some((1.5, 9.0)));
        assert!(counter.between(1.6, 9.0).is_empty());
        assert_eq!(counter.between(1.0, 9.1), [1.0, 1.5, 9.0]);
        assert_eq!(counter.next(2.0), Some(9.0));
        assert!(Counter::parse("1.0 0\n1.5 2\n").gap().is_some());
    }

    #[test]
    fn one_that_began_anew_has_a_gap() {
        assert!(Counter::parse("1.0 0\n1.5 1\n2.0 0\n").gap().is_some());
        assert!(Counter::parse("1.0 4\n").gap().is_some());
    }
}
