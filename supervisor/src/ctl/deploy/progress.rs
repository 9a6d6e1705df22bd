//! How a deployment comes along, in lines for people. Knows neither bus nor terminal.

use std::collections::BTreeMap;

use super::model::{Deployment, Member};
use crate::ctl::clock::{self, Clock};
use crate::ctl::{model, text};

/// What lines are made with, besides the deployment itself.
#[derive(Debug)]
pub struct Setting {
    /// Now, and the time zone.
    pub clock: Clock,
    /// What is done to a task that isn't at rest in time, by its name: the policy's `fallback`, or nothing, and then
    /// the deployment is refused. A task that isn't in it isn't known here.
    pub fallbacks: BTreeMap<String, Option<&'static str>>,
}

/// A line about each task that has come into another state since `before`, and about the deployment itself.
pub fn changes(before: Option<&Deployment>, now: &Deployment, setting: &Setting) -> Vec<String> {
    let mut lines = Vec::new();
    if before.is_none_or(|before| before.state != now.state)
        && matches!(now.state.as_str(), "settling" | "ending")
    {
        lines.push(headline(now, setting));
    }
    let was = |member: &Member| {
        let tasks = before.map_or(&[][..], |before| &before.tasks);
        tasks.iter().find(|task| task.unit == member.unit)
    };
    for member in &now.tasks {
        let told = was(member).is_some_and(|was| {
            was.state == member.state && (was.detail == member.detail || !is_waited_for(member))
        });
        if !told {
            lines.push(sentence(member, now, setting));
        }
    }
    lines
}

/// What is going on now, for a screen of so many lines: a headline, and a line for each task that isn't done with;
/// nothing while nothing goes on.
pub fn picture(now: &Deployment, setting: &Setting, lines: usize) -> Vec<String> {
    let mut open: Vec<&Member> = match now.state.as_str() {
        "settling" => now.tasks.iter().filter(|task| !task.is_at_rest()).collect(),
        "ending" => now
            .tasks
            .iter()
            .filter(|task| task.state == "starting" || task.state == "failed")
            .collect(),
        // Nobody waits.
        _ => return Vec::new(),
    };
    let mut picture = vec![headline(now, setting)];
    // Those that have taken longest are what everybody waits for.
    open.sort_by_key(|task| task.since_usec);
    let room = lines.saturating_sub(picture.len() + 1);
    let more = open.len().saturating_sub(room);
    for task in open.iter().take(room) {
        picture.push(format!("  {}", sentence(task, now, setting)));
    }
    if more > 0 {
        picture.push(format!("  and {more} more"));
    }
    picture
}

/// The deployment in one line.
pub fn headline(now: &Deployment, setting: &Setting) -> String {
    let clock = &setting.clock;
    let took = clock.ago(now.since_usec.unwrap_or(0));
    let group = &now.group;
    // The units that are waited for have lines of their own.
    let has_lines = |detail: &str| now.tasks.iter().any(|task| detail.contains(&task.unit));
    let detail = match now.detail.as_str() {
        "" => String::new(),
        detail if has_lines(detail) => String::new(),
        detail => format!(": {detail}"),
    };
    match now.state.as_str() {
        "settling" => {
            let at_rest = now.tasks.iter().filter(|task| task.is_at_rest()).count();
            let all = text::count(now.tasks.len(), "task");
            let rest = match now.tasks.len() {
                0 => String::new(),
                _ => format!(", {at_rest} of {all} at rest"),
            };
            let until = match deadline(now, clock) {
                Some(deadline) => format!(", at most until {}", clock.time(deadline)),
                None => String::new(),
            };
            format!("{group} is coming to rest ({took}{rest}{until}){detail}")
        }
        "ending" => format!("{group} goes again{detail}"),
        state => format!("the deployment of {group} is {state}{detail}"),
    }
}

fn is_waited_for(member: &Member) -> bool {
    matches!(
        member.state.as_str(),
        "running" | "waiting" | "checkpointing" | "failed"
    )
}

/// Whether it is this deployment's no more, but another one's.
fn stays(member: &Member) -> bool {
    member.detail.starts_with("deployment ") && member.detail.ends_with(" goes on holding it")
}

/// A task in one line.
fn sentence(member: &Member, now: &Deployment, setting: &Setting) -> String {
    let task = model::label(&member.task, &member.unit);
    let with_detail = |what: String| match member.detail.as_str() {
        "" => what,
        detail => format!("{what}: {detail}"),
    };
    match member.state.as_str() {
        "running" => format!("{task} may end by itself{}", waited(member, now, setting)),
        "waiting" => format!("waiting for {task}{}", waited(member, now, setting)),
        "checkpointing" => format!("{task} was told to end{}", waited(member, now, setting)),
        "freezing" => with_detail(format!("freezing {task}")),
        "stopping" => with_detail(format!("stopping {task}")),
        "frozen" => with_detail(format!("{task} is frozen")),
        "stopped" => with_detail(format!("{task} is stopped")),
        "ended" => with_detail(format!("{task} has ended")),
        "ignored" => with_detail(format!("{task} is left alone")),
        "starting" => with_detail(format!("starting {task} again")),
        "resumed" if stays(member) => format!("{task} stays at rest: {}", member.detail),
        "resumed" => with_detail(match member.action.as_str() {
            "stop" | "restart" | "checkpoint" => format!("{task} is started again"),
            _ => format!("{task} goes on"),
        }),
        "failed" => with_detail(format!("{task} could not be started again")),
        state => with_detail(format!("{task} is {state}")),
    }
}

/// ` (usually 3min, at most until 14:02:10, then stop)`, as far as it is known.
fn waited(member: &Member, now: &Deployment, setting: &Setting) -> String {
    let mut known = Vec::new();
    match member.usual_usec {
        Some(usual) if usual < 1_000_000 => known.push("usually less than 1s".to_owned()),
        Some(usual) => known.push(format!("usually {}", clock::duration(usual))),
        None => {}
    }
    if let Some(deadline) = deadline(now, &setting.clock) {
        known.push(format!("at most until {}", setting.clock.time(deadline)));
        match setting.fallbacks.get(&member.task) {
            Some(Some(fallback)) => known.push(format!("then {fallback}")),
            Some(None) => known.push("then the deployment is refused".to_owned()),
            None => {}
        }
    }
    if !member.detail.is_empty() {
        known.push(member.detail.clone());
    }
    match known.is_empty() {
        true => String::new(),
        false => format!(" ({})", known.join(", ")),
    }
}

/// When settling is given up, as long as that is to come: a fallback has some time of its own.
fn deadline(now: &Deployment, clock: &Clock) -> Option<u64> {
    now.deadline_usec
        .filter(|deadline| !clock.is_past(*deadline))
}

/// How it ended, in one sentence.
pub fn ending(now: &Deployment) -> String {
    let id = &now.id;
    let mut sentence = match now.state.as_str() {
        "ended" => format!("deployment {id} has ended; {}", resumed(now)),
        "ending" => return format!("deployment {id} is ending; {}", now.detail),
        _ => format!("deployment {id} failed"),
    };
    let detail = match now.detail.as_str() {
        "" if now.state == "failed" => "see: journalctl -b -u interlockd",
        detail => detail,
    };
    if now.state == "failed" {
        sentence.push_str(&format!(": {detail}"));
    }
    let broken: Vec<String> = now
        .tasks
        .iter()
        .filter(|task| task.state == "failed" && !detail.contains(&task.unit))
        .map(|task| task.unit.clone())
        .collect();
    if !broken.is_empty() {
        sentence.push_str(&format!(
            "\nnot started again: {0}; see: journalctl -b -u {1}",
            broken.join(", "),
            broken[0]
        ));
    }
    sentence
}

fn resumed(now: &Deployment) -> String {
    let resumed = now
        .tasks
        .iter()
        .filter(|task| task.state == "resumed" && !stays(task))
        .count();
    match resumed {
        0 => "nothing had to be resumed".to_owned(),
        1 => "1 task goes on".to_owned(),
        many => format!("{many} tasks go on"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    /// 2026-03-01 13:52:22 UTC.
    const NOW: u64 = 1_772_373_142_000_000;
    const MINUTE: u64 = 60_000_000;

    fn setting() -> Setting {
        let fallbacks = [("import", Some("stop")), ("refresh-links", None)];
        Setting {
            clock: Clock::at(NOW, TimeZone::UTC),
            fallbacks: fallbacks.map(|(task, then)| (task.to_owned(), then)).into(),
        }
    }

    fn member(task: &str, state: &str, detail: &str) -> Member {
        let unit = match task.split_once('@') {
            Some((_, instance)) => format!("package-import@{instance}.service"),
            None => format!("{task}.service"),
        };
        Member {
            task: task.split('@').next().unwrap().to_owned(),
            unit,
            action: "wait".to_owned(),
            state: state.to_owned(),
            detail: detail.to_owned(),
            since_usec: Some(NOW),
            usual_usec: Some(3 * MINUTE),
        }
    }

    fn settling(tasks: Vec<Member>) -> Deployment {
        Deployment {
            id: "mediawiki-1".to_owned(),
            group: "mediawiki".to_owned(),
            state: "settling".to_owned(),
            since_usec: Some(NOW - 12_000_000),
            deadline_usec: Some(NOW + 588_000_000),
            tasks,
            ..Deployment::default()
        }
    }

    #[test]
    fn a_task_that_is_waited_for_is_told_with_how_long_and_what_then() {
        let now = settling(vec![
            member("import@foo", "waiting", ""),
            member("refresh-links", "checkpointing", ""),
        ]);
        assert_eq!(
            changes(None, &now, &setting()),
            [
                "mediawiki is coming to rest (12s, 0 of 2 tasks at rest, at most until 14:02:10)",
                "waiting for import@foo (usually 3min, at most until 14:02:10, then stop)",
                "refresh-links was told to end (usually 3min, at most until 14:02:10, \
                 then the deployment is refused)",
            ]
        );
    }

    #[test]
    fn only_what_has_changed_is_told_again() {
        let before = settling(vec![
            member("import@foo", "waiting", ""),
            member("jobrunner", "stopping", ""),
        ]);
        assert!(changes(Some(&before), &before, &setting()).is_empty());
        let now = settling(vec![
            member("import@foo", "waiting", "inside an RPM transaction"),
            member("jobrunner", "stopped", ""),
        ]);
        assert_eq!(
            changes(Some(&before), &now, &setting()),
            [
                "waiting for import@foo (usually 3min, at most until 14:02:10, then stop, \
                 inside an RPM transaction)",
                "jobrunner is stopped",
            ]
        );
    }

    #[test]
    fn every_state_has_its_sentence() {
        for (state, words) in [
            ("running", "upcp may end by itself (usually 3min"),
            ("waiting", "waiting for upcp (usually 3min"),
            ("freezing", "freezing upcp: why"),
            ("frozen", "upcp is frozen: why"),
            ("stopping", "stopping upcp: why"),
            ("stopped", "upcp is stopped: why"),
            ("checkpointing", "upcp was told to end (usually 3min"),
            ("ended", "upcp has ended: why"),
            ("ignored", "upcp is left alone: why"),
            ("starting", "starting upcp again: why"),
            ("resumed", "upcp goes on: why"),
            ("failed", "upcp could not be started again: why"),
            ("later-state", "upcp is later-state: why"),
        ] {
            let now = settling(vec![member("upcp", state, "why")]);
            let told = sentence(&now.tasks[0], &now, &setting());
            assert!(told.starts_with(words), "{told}");
        }
    }

    #[test]
    fn what_another_deployment_goes_on_holding_does_not_go_on() {
        let detail = "deployment mediawiki-2 goes on holding it";
        let mut now = settling(vec![member("upcp", "resumed", detail)]);
        assert_eq!(
            sentence(&now.tasks[0], &now, &setting()),
            format!("upcp stays at rest: {detail}")
        );
        now.state = "ended".to_owned();
        assert!(ending(&now).ends_with("nothing had to be resumed"));
    }

    #[test]
    fn nothing_is_said_of_what_is_not_known() {
        let mut now = settling(vec![member("upcp", "waiting", "")]);
        now.deadline_usec = None;
        now.tasks[0].usual_usec = None;
        assert_eq!(
            sentence(&now.tasks[0], &now, &setting()),
            "waiting for upcp"
        );
        // The fallback's own time says nothing of the deadline that is over.
        now.deadline_usec = Some(NOW - 1);
        assert_eq!(
            sentence(&now.tasks[0], &now, &setting()),
            "waiting for upcp"
        );
    }

    #[test]
    fn a_picture_shows_what_is_open_and_fits_its_screen() {
        let mut tasks: Vec<Member> = (0..20)
            .map(|n| member(&format!("t{n}"), "waiting", ""))
            .collect();
        tasks[3].since_usec = Some(NOW - MINUTE);
        tasks.push(member("done", "stopped", ""));
        let picture = picture(&settling(tasks), &setting(), 6);
        assert_eq!(picture.len(), 6, "{picture:?}");
        assert!(picture[0].contains("1 of 21 tasks at rest"), "{picture:?}");
        assert!(picture[1].starts_with("  waiting for t3 "), "{picture:?}");
        assert_eq!(picture[5], "  and 16 more");
    }

    #[test]
    fn an_ending_says_what_became_of_it() {
        let mut now = settling(vec![member("upcp", "resumed", "")]);
        now.state = "ended".to_owned();
        assert_eq!(
            ending(&now),
            "deployment mediawiki-1 has ended; 1 task goes on"
        );
        now.state = "failed".to_owned();
        now.detail = "after-resume failed: exit status 1".to_owned();
        assert_eq!(
            ending(&now),
            "deployment mediawiki-1 failed: after-resume failed: exit status 1"
        );
        now.tasks.push(member("jobrunner", "failed", ""));
        assert!(
            ending(&now).ends_with(
                "\nnot started again: jobrunner.service; see: journalctl -b -u jobrunner.service"
            ),
            "{}",
            ending(&now)
        );
    }
}
