//! What holds look like, and what is taken from the command line.

use clap::Parser as _;

use super::*;
use crate::ctl::cli::{Cli, Command};
use crate::ctl::fixture::{NOW, SCREEN, clock, documented, names};

fn held(task: &str, unit: &str) -> Hold {
    Hold {
        task: task.to_owned(),
        unit: unit.to_owned(),
        reason: "migration".to_owned(),
        by: "alice (uid 1000)".to_owned(),
        since_usec: Some(1),
        until_usec: None,
        skip_next: 0,
        waiting: Vec::new(),
        known: true,
    }
}

#[test]
fn the_list_says_what_is_held_how_until_when_and_how_many_wait() {
    let holds = vec![
        Hold {
            until_usec: Some(NOW + 3_600_000_000),
            waiting: vec!["import@a.service".to_owned()],
            ..held("import", "import@.service")
        },
        held("import", "import@b.service"),
        Hold {
            skip_next: 2,
            known: false,
            ..held("upcp", "upcp.service")
        },
    ];
    let text = render(&Holds { holds }, &clock(), &SCREEN);
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert!(lines[1].starts_with("import  "), "{text}");
    assert!(
        lines[1].contains("03:03:16") && lines[1].contains(" 1 "),
        "{text}"
    );
    assert!(lines[2].starts_with("import@b.service  "), "{text}");
    assert!(lines[3].contains("skip next 2"), "{text}");
    let none = render(&Holds { holds: Vec::new() }, &clock(), &SCREEN);
    assert_eq!(none.trim_end(), "Nothing is held.");
}

#[test]
fn json_has_the_fields_of_the_manual_and_no_others() {
    let holds = Holds {
        holds: vec![held("upcp", "upcp.service")],
    };
    let holds = serde_json::to_value(holds).unwrap();
    assert_eq!(names(&holds), documented(manual::HOLDS_FIELDS));
}

#[test]
fn an_instance_that_is_released_may_still_be_held_with_all_of_its_template() {
    let all = held("import", "import@.service");
    assert!(still_holds(&all, "import@a.service"));
    assert!(!still_holds(&all, "upcp.service"));
    let skip = Hold {
        skip_next: 1,
        ..all
    };
    assert!(!still_holds(&skip, "import@a.service"));
}

fn parsed(line: &str) -> Result<HoldArgs, String> {
    let cli = Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
    match cli.command {
        Command::Hold(args) => Ok(args),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn a_hold_needs_a_reason_and_ends_by_one_word_at_most() {
    let args = parsed("interlockctl hold upcp import@a --reason x --for 2h").unwrap();
    assert_eq!(args.tasks, ["upcp", "import@a"]);
    assert_eq!((args.span, args.skip_next), (Some(7_200_000_000), None));
    let skip = |line| parsed(line).unwrap().skip_next;
    assert_eq!(skip("interlockctl hold --skip-next upcp -r x"), Some(1));
    assert_eq!(skip("interlockctl hold --skip-next=3 upcp -r x"), Some(3));
    for bad in [
        "interlockctl hold upcp",
        "interlockctl hold --reason x",
        "interlockctl hold upcp --reason x --for 2h --until tomorrow",
        "interlockctl hold upcp --reason x --for soon",
    ] {
        assert!(parsed(bad).is_err(), "{bad}");
    }
}
