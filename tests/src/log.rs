//! What test tasks wrote about themselves: when each began and ended, and whether any overlapped.

use std::collections::BTreeMap;

/// Where tasks write it, inside the container.
pub const PATH: &str = "/var/lib/testbed/log";

/// One execution of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its name: mostly the unit's name with suffix.
    pub name: String,
    /// Seconds since the epoch.
    pub begin: f64,
    /// Seconds since the epoch; `None` while it runs (or if it was killed).
    pub end: Option<f64>,
}

/// The log, in the order in which things happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Log {
    lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq)]
struct Line {
    at: f64,
    begins: bool,
    name: String,
}

impl Log {
    /// Reads the log's text; an unfinished last line is left out.
    pub fn parse(text: &str) -> Self {
        let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
        let lines = complete.lines().filter_map(|line| {
            let mut words = line.splitn(3, ' ');
            let at = words.next()?.parse().ok()?;
            let begins = match words.next()? {
                "begin" => true,
                "end" => false,
                _ => return None,
            };
            let name = words.next()?.to_owned();
            Some(Line { at, begins, name })
        });
        Self {
            lines: lines.collect(),
        }
    }

    /// Every run, in the order in which they began.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for line in &self.lines {
            let open = runs
                .iter_mut()
                .rev()
                .find(|run| run.name == line.name && run.end.is_none());
            match open {
                Some(run) if !line.begins => run.end = Some(line.at),
                _ if line.begins => runs.push(Run {
                    name: line.name.clone(),
                    begin: line.at,
                    end: None,
                }),
                _ => {}
            }
        }
        runs
    }

    /// The names of the runs, in the order in which they began.
    pub fn order(&self) -> Vec<String> {
        self.runs().into_iter().map(|run| run.name).collect()
    }

    /// How often this one began.
    pub fn count(&self, name: &str) -> usize {
        self.lines
            .iter()
            .filter(|line| line.begins && line.name == name)
            .count()
    }

    /// Whether it has begun and not ended.
    pub fn is_running(&self, name: &str) -> bool {
        self.lines
            .iter()
            .rev()
            .find(|line| line.name == name)
            .is_some_and(|line| line.begins)
    }

    /// The first moment at which users of one resource took more than there is, if there was one.
    ///
    /// `users` are names with the shares that each takes.
    pub fn overlap(&self, users: &[(&str, u32)], capacity: u32) -> Option<String> {
        let mut running: BTreeMap<&str, u32> = BTreeMap::new();
        for line in &self.lines {
            let Some((name, weight)) = users.iter().find(|(name, _)| *name == line.name) else {
                continue;
            };
            if line.begins {
                *running.entry(name).or_default() += weight;
            } else {
                running.remove(name);
            }
            if running.values().sum::<u32>() > capacity {
                let names: Vec<&str> = running.keys().copied().collect();
                return Some(format!(
                    "{} ran at the same time, {:.3} s after the first began",
                    names.join(" and "),
                    line.at - self.lines.first().map_or(0.0, |first| first.at),
                ));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "1.0 begin a.service\n1.5 begin b.service\n2.0 end a.service\n\
                        2.5 end b.service\n3.0 begin a.service\n";

    #[test]
    fn pairs_begins_and_ends() {
        let runs = Log::parse(TEXT).runs();
        assert_eq!(runs.len(), 3);
        assert_eq!((runs[0].begin, runs[0].end), (1.0, Some(2.0)));
        assert_eq!((runs[2].name.as_str(), runs[2].end), ("a.service", None));
    }

    #[test]
    fn finds_an_overlap_only_where_the_capacity_is_exceeded() {
        let log = Log::parse(TEXT);
        let users = [("a.service", 1), ("b.service", 1)];
        assert!(
            log.overlap(&users, 1)
                .is_some_and(|text| text.contains("a.service and b.service"))
        );
        assert_eq!(log.overlap(&users, 2), None);
        assert!(
            log.overlap(&[("a.service", 2), ("b.service", 1)], 2)
                .is_some()
        );
        assert_eq!(log.overlap(&users[..1], 1), None);
    }

    #[test]
    fn ending_and_beginning_at_the_same_instant_is_no_overlap() {
        let log = Log::parse("1.0 begin a\n2.0 end a\n2.0 begin b\n");
        assert_eq!(log.overlap(&[("a", 1), ("b", 1)], 1), None);
    }

    #[test]
    fn a_line_that_is_still_being_written_is_left_out() {
        let log = Log::parse("1.0 begin a\n2.0 end a\n2.0 beg");
        assert_eq!(log.order(), ["a"]);
        assert!(!log.is_running("a"));
    }

    #[test]
    fn a_second_start_while_it_runs_counts_twice() {
        let log = Log::parse("1.0 begin a\n2.0 begin a\n");
        assert_eq!(log.count("a"), 2);
        assert!(log.overlap(&[("a", 1)], 1).is_some());
    }
}
