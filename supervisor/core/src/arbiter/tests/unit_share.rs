//! A unit and the repairs that are run on it: never two of them at a time, and never in others' way.

use super::examples::{arbiter, claim, grant, uses};
use crate::arbiter::*;

const UNIT: &str = "import@a.service";

/// What the unit and each of its repairs need.
fn own() -> Claim {
    let mut claim = claim(&[("slots", 1)]);
    claim.uses.insert(share_of_unit(UNIT), 1);
    claim
}

#[test]
fn a_unit_and_its_repairs_come_one_after_the_other_in_their_order() {
    let mut it = arbiter(&[("slots", 8)]);
    assert_eq!(it.ask("repair-1", 1, own()), [grant("repair-1")]);
    assert!(it.ask(UNIT, 2, own()).iter().all(|a| *a != grant(UNIT)));
    it.ask("repair-2", 3, own());
    let view = it.view(UNIT).unwrap();
    assert_eq!(
        view.hurdles,
        [Hurdle::Resource {
            name: share_of_unit(UNIT),
            needs: 1,
            capacity: 1,
            holders: vec!["repair-1".to_owned()],
            ahead: Vec::new(),
        }]
    );
    it.released("repair-1");
    assert!(it.looked(UNIT, Standing::Clear).contains(&grant(UNIT)));
    it.released(UNIT);
    let granted = it.looked("repair-2", Standing::Clear);
    assert!(granted.contains(&grant("repair-2")));
}

#[test]
fn who_waits_for_a_unit_keeps_nothing_else_from_others() {
    let mut it = arbiter(&[("slots", 2)]);
    it.ask(UNIT, 1, own());
    for repair in ["repair-1", "repair-2", "repair-3"] {
        it.ask(repair, 2, own());
    }
    let other = claim(&[("slots", 1)]);
    assert_eq!(
        it.ask("import@b.service", 3, other.clone()),
        [grant("import@b.service")]
    );
    // Both slots are taken now: it waits for one, and goes first when its unit has ended too.
    it.released(UNIT);
    let taken = it.ask("import@c.service", 4, other);
    assert!(!taken.contains(&grant("import@c.service")), "{taken:?}");
    assert!(
        it.looked("repair-1", Standing::Clear)
            .contains(&grant("repair-1"))
    );
}

#[test]
fn a_unit_has_one_share_whatever_else_there_is() {
    let mut it = arbiter(&[]);
    let two = Claim {
        uses: uses(&[(&share_of_unit(UNIT), 1)]),
        ..Claim::default()
    };
    it.ask("x", 1, two.clone());
    assert!(it.ask("y", 2, two).is_empty() || !it.leases().contains_key("y"));
    assert!(it.would_wait_for("x", &own().uses));
    assert!(!it.would_wait_for("x", &claim(&[("slots", 1)]).uses));
}
