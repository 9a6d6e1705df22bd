//! The checker finds what was planted, and nothing where nothing is.

use super::*;

fn rules() -> Rules {
    let uses = |shares: &[(&str, u32)]| -> BTreeMap<String, u32> {
        shares
            .iter()
            .map(|(name, share)| ((*name).to_owned(), *share))
            .collect()
    };
    Rules {
        capacities: uses(&[("one", 1), ("trio", 3)]),
        uses: BTreeMap::from([
            ("a.service".into(), uses(&[("one", 1)])),
            ("b.service".into(), uses(&[("one", 1)])),
            ("c.service".into(), uses(&[("trio", 2)])),
            ("i@.service".into(), uses(&[("trio", 1)])),
        ]),
        before: vec![("a.service".into(), "b.service".into())],
        held: BTreeMap::from([(
            "g".into(),
            BTreeSet::from(["a.service".into(), "i@.service".into()]),
        )]),
        refusable: BTreeSet::from(["c.service".into()]),
        ..Rules::default()
    }
}

/// A log of one line a second.
fn log(lines: &[&str]) -> Log {
    let text: String = lines
        .iter()
        .enumerate()
        .map(|(number, line)| format!("{number}.0 {line}\n"))
        .collect();
    Log::parse(&text)
}

fn kinds(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.kind).collect()
}

fn judged(lines: &[&str], journal: &str) -> Vec<&'static str> {
    kinds(&judge(&rules(), &log(lines), &Journal::parse(journal)).0)
}

const ASKED: [&str; 4] = [
    "driver ask a.service",
    "driver ask b.service",
    "driver ack a.service 1",
    "driver ack b.service 2",
];

fn after_asking(lines: &[&str]) -> Vec<String> {
    ASKED
        .iter()
        .chain(lines)
        .map(|line| (*line).to_owned())
        .collect()
}

fn judged_after_asking(lines: &[&str], journal: &str) -> Vec<&'static str> {
    let all = after_asking(lines);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    judged(&all, journal)
}

#[test]
fn one_after_the_other_is_as_it_should_be() {
    let lines = [
        "begin a.service 1",
        "end a.service 1 0",
        "begin b.service 2",
        "end b.service 2 0",
    ];
    assert!(judged_after_asking(&lines, "").is_empty());
}

#[test]
fn two_at_once_overlap() {
    let lines = [
        "begin a.service 1",
        "begin b.service 2",
        "end a.service 1 0",
        "end b.service 2 0",
    ];
    assert_eq!(judged_after_asking(&lines, ""), ["overlap"]);
}

#[test]
fn a_killed_run_lasts_until_what_systemd_runs_after_it() {
    let killed = [
        "begin a.service 1",
        "post a.service 1 signal KILL",
        "begin b.service 2",
        "end b.service 2 0",
    ];
    assert!(judged_after_asking(&killed, "").is_empty());
    let early = [
        "begin a.service 1",
        "begin b.service 2",
        "post a.service 1 signal KILL",
        "end b.service 2 0",
    ];
    assert_eq!(judged_after_asking(&early, ""), ["overlap"]);
}

#[test]
fn a_child_that_is_left_behind_uses_what_its_task_used() {
    let lines = [
        "begin a.service 1",
        "begin a.service+child 1",
        "end a.service 1 0",
        "begin b.service 2",
        "end a.service+child 1 0",
        "end b.service 2 0",
    ];
    assert_eq!(judged_after_asking(&lines, ""), ["overlap"]);
}

#[test]
fn weights_and_instances_count() {
    let fits = [
        "driver ask c.service",
        "driver ask i@1.service",
        "begin c.service 1",
        "begin i@1.service 2",
    ];
    assert!(judged(&fits, "").is_empty());
    let more = [
        &fits[..],
        &["driver ask i@2.service", "begin i@2.service 3"],
    ]
    .concat();
    assert_eq!(judged(&more, ""), ["overlap"]);
}

#[test]
fn a_lowered_capacity_counts_when_what_was_granted_before_has_begun() {
    let just_then = [
        "driver ask c.service",
        "driver capacity trio 1",
        "driver ask i@1.service",
        "begin c.service 1",
        "begin i@1.service 2",
    ];
    assert!(judged(&just_then, "").is_empty());
    let pause = ["driver nothing"; 9];
    let later = [&just_then[..4], &pause, &just_then[4..]].concat();
    assert_eq!(judged(&later, ""), ["overlap"]);
}

#[test]
fn a_start_that_nothing_became_of_is_lost() {
    let lines = ["begin a.service 1", "end a.service 1 0"];
    assert_eq!(judged_after_asking(&lines, ""), ["lost"]);
    let undone = [&lines[..], &["driver undo b.service"]].concat();
    assert!(judged_after_asking(&undone, "").is_empty());
}

#[test]
fn a_start_while_it_runs_is_the_same_start() {
    let lines = [
        "driver ask a.service",
        "driver ack a.service 1",
        "begin a.service 1",
        "driver ask a.service",
        "driver ack a.service 2",
        "end a.service 1 0",
    ];
    assert!(judged(&lines, "").is_empty());
}

#[test]
fn a_refusable_start_may_be_refused_but_not_vanish_as_done() {
    let lines = ["driver ask c.service", "driver ack c.service 7"];
    assert!(judged(&lines, "").is_empty());
    let done = r#"{"JOB_ID":"7","JOB_TYPE":"start","JOB_RESULT":"done","UNIT":"c.service"}"#;
    assert_eq!(judged(&lines, done), ["lost"]);
}

#[test]
fn what_is_done_has_run() {
    let rules = Rules {
        oneshots: BTreeSet::from(["a.service".into()]),
        ..rules()
    };
    let done = entry(
        3,
        "a.service",
        "\"JOB_ID\":\"5\",\"JOB_TYPE\":\"start\",\"JOB_RESULT\":\"done\"",
    );
    let of = |lines: &[&str]| {
        let journal = Journal::parse(&done);
        kinds(&account::done_without_a_run(&rules, &log(lines), &journal))
    };
    let asked = ["driver ask a.service", "driver ack a.service 5"];
    assert_eq!(of(&asked), ["lost"]);
    assert!(of(&[&asked[..], &["begin a.service 1", "end a.service 1 0"]].concat()).is_empty());
    let too_late = ["driver nothing", "driver nothing", "begin a.service 1"];
    assert_eq!(of(&[&asked[..], &too_late].concat()), ["lost"]);

    // The first half of a restart that systemd does by itself, and that a start joins: the unit is down.
    let half = Journal::parse(&done.replace("\"start\"", "\"restart\""));
    assert!(account::done_without_a_run(&rules, &log(&asked), &half).is_empty());
}

#[test]
fn submissions_run_as_often_as_they_fail_and_once_more() {
    let fine = [
        "driver submit i@1-1.service",
        "driver submitted i@1-1.service",
        "begin i@1-1.service 1",
        "end i@1-1.service 1 75",
        "begin i@1-1.service 2",
        "end i@1-1.service 2 0",
    ];
    let of = |lines: &[&str]| kinds(&account::submitted(&log(lines)));
    assert!(of(&fine).is_empty());
    assert_eq!(of(&fine[..4]), ["lost"]);
    let again = ["begin i@1-1.service 3", "end i@1-1.service 3 0"];
    assert_eq!(of(&[&fine[..], &again].concat()), ["doubled"]);
}

#[test]
fn what_ran_more_often_than_it_was_asked_for_is_doubled() {
    let lines = [
        "driver ask a.service",
        "begin a.service 1",
        "end a.service 1 0",
        "begin a.service 2",
        "end a.service 2 0",
    ];
    assert_eq!(judged(&lines, ""), ["doubled"]);
    assert_eq!(
        judged(&[&lines[..3], &["begin a.service 1"]].concat(), ""),
        ["doubled"]
    );
}

#[test]
fn nothing_of_a_group_begins_or_goes_on_while_it_is_at_rest() {
    for line in [
        "begin a.service 1",
        "tick a.service 1",
        "begin i@5.service 1",
    ] {
        let lines = ["ready g 100", line, "over g 100"];
        assert_eq!(
            kinds(&held::findings(&rules(), &log(&lines))),
            ["ran during a deployment"]
        );
        let lines = ["ready g 100", "over g 100", line];
        assert!(held::findings(&rules(), &log(&lines)).is_empty());
        let lines = ["ready g 100", "driver over *", line, "over g 100"];
        assert!(held::findings(&rules(), &log(&lines)).is_empty());
    }
}

#[test]
fn what_an_operator_holds_does_not_begin() {
    let of = |lines: &[&str]| kinds(&held::by_operators(&log(lines)));
    let pause = ["driver nothing"; 5];
    let later = [
        &["driver held a.service"][..],
        &pause,
        &["begin a.service 1"],
    ]
    .concat();
    assert_eq!(of(&later), ["ran though it was held"]);
    assert!(of(&["driver held a.service", "begin a.service 1"]).is_empty());
    let after = [
        &later[..6],
        &["driver released a.service", "begin a.service 1"],
    ]
    .concat();
    assert!(of(&after).is_empty());
}

fn entry(at: u64, unit: &str, rest: &str) -> String {
    format!("{{\"__REALTIME_TIMESTAMP\":\"{at}000000\",\"UNIT\":\"{unit}\",{rest}}}\n")
}

const STARTING: &str = "\"MESSAGE_ID\":\"7d4958e842da4a758f6c1cdc7b36dcc5\"";
const DONE: &str = "\"JOB_RESULT\":\"done\",\"JOB_TYPE\":\"start\"";

#[test]
fn the_later_one_never_starts_while_the_earlier_one_runs() {
    let (a, b) = ("a.service", "b.service");
    let fine = entry(1, a, STARTING)
        + &entry(2, a, DONE)
        + &entry(3, b, STARTING)
        + &entry(4, a, STARTING);
    let of = |text: &str| kinds(&order::findings(&rules(), &log(&[]), &Journal::parse(text)));
    assert!(of(&fine).is_empty());
    assert_eq!(
        of(&(entry(1, a, STARTING) + &entry(2, b, STARTING) + &entry(3, a, DONE))),
        ["order"]
    );
}

#[test]
fn the_queue_keeps_its_order() {
    let lined = "driver lined-up x@1.service x@2.service";
    let of = |lines: &[&str]| kinds(&order::line(&log(lines)));
    assert!(of(&[lined, "begin x@1.service 1", "begin x@2.service 2"]).is_empty());
    assert_eq!(
        of(&[lined, "begin x@2.service 1", "begin x@1.service 2"]),
        ["order of the queue"]
    );
    assert_eq!(of(&[lined, "begin x@1.service 1"]), ["order of the queue"]);
}

const FAILED: &str = "\"MESSAGE_ID\":\"d9b373ed55a64feb8242e02dbe79a49c\",\"UNIT_RESULT\":\"exit-code\",\
                      \"INVOCATION_ID\":\"1\"";

#[test]
fn who_did_not_fail_has_not_failed() {
    let journal = Journal::parse(&entry(9, "a.service", FAILED));
    let of = |end: &str| {
        kinds(&failure::findings(
            &log(&["begin a.service 1", end]),
            &journal,
        ))
    };
    assert!(of("end a.service 1 3").is_empty());
    assert_eq!(of("end a.service 1 0"), ["failed without having failed"]);
}

#[test]
fn interlockd_ends_by_our_hand_alone() {
    let exit = |code: &str, status: &str| {
        entry(
            5,
            "interlockd.service",
            &format!(
                "\"MESSAGE_ID\":\"98e322203f7a4ed290d09fe03c09fe15\",\"EXIT_CODE\":\"{code}\",\"EXIT_STATUS\":\"{status}\""
            ),
        )
    };
    let of =
        |text: &str, lines: &[&str]| kinds(&failure::findings(&log(lines), &Journal::parse(text)));
    assert_eq!(of(&exit("exited", "101"), &[]), ["interlockd ended"]);
    assert_eq!(of(&exit("dumped", "ABRT"), &[]), ["interlockd ended"]);
    assert_eq!(of(&exit("killed", "9"), &[]), ["interlockd ended"]);
    assert!(of(&exit("killed", "9"), &["driver kill-daemon"]).is_empty());
    let lived = ["driver kill-daemon", "driver unkilled-daemon"];
    assert_eq!(of(&exit("killed", "9"), &lived), ["interlockd ended"]);
    assert!(of(&exit("killed", "6"), &["driver stop-daemon"]).is_empty());
}

#[test]
fn a_line_that_is_still_being_written_is_left_out() {
    assert_eq!(
        Log::parse("1.0 begin a 1\n2.0 end a 1 0\n3.0 beg")
            .runs()
            .len(),
        1
    );
    assert_eq!(
        Log::parse("1.0 begin a 1\n2.0 end a 1 0\n3.0 beg")
            .lines()
            .len(),
        2
    );
}

#[test]
fn who_was_killed_with_all_that_could_tell_of_it_has_ended_when_pid1_says_so() {
    let log = log(&[
        "begin a.service 1",
        "driver kill a.service KILL",
        "driver nothing",
        "begin b.service 2",
        "end b.service 2 0",
    ]);
    let overlaps = |at: u64| {
        let text = entry(
            at,
            "a.service",
            "\"INVOCATION_ID\":\"1\",\"MESSAGE_ID\":\"d9b373ed55a64feb8242e02dbe79a49c\"",
        );
        let log = log.clone().with_ends_of_killed(&Journal::parse(&text));
        kinds(&overlap::findings(&rules(), &log))
    };
    assert!(overlaps(2).is_empty());
    assert_eq!(overlaps(4), ["overlap"]);
}

#[test]
fn a_full_disk_and_a_death_are_no_reason_to_run_again() {
    let run = [
        "driver submit i@1-0.service",
        "driver submitted i@1-0.service",
        "driver disk full",
        "begin i@1-0.service 1",
        "end i@1-0.service 1 0",
        "driver kill-daemon",
        "driver disk has room",
    ];
    let of = |more: &[&str]| kinds(&account::submitted(&log(&[&run[..], more].concat())));
    assert!(of(&[]).is_empty());
    let again = ["begin i@1-0.service 2", "end i@1-0.service 2 0"];
    assert_eq!(of(&again), ["doubled"]);
}

#[test]
fn who_was_lined_up_begins_in_that_order_unless_it_is_taken_away() {
    let of = |rest: &[&str]| {
        let lines = [&["driver lined-up a.service b.service c.service"], rest].concat();
        kinds(&order::line(&log(&lines)))
    };
    let (a, b, c) = (
        "begin a.service 1",
        "begin b.service 2",
        "begin c.service 3",
    );
    assert!(of(&[a, b, c]).is_empty());
    assert!(of(&[a, "driver undo *"]).is_empty());
    for wrong in [
        &[a, c, b][..],
        &[a, b],
        &[b, "driver undo *"],
        &[a, b, c, c],
    ] {
        assert_eq!(of(wrong), ["order of the queue"], "{wrong:?}");
    }
}
