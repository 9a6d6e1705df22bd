//! Short words for the arbiter's tests.

use crate::arbiter::*;

pub(super) fn uses(list: &[(&str, u32)]) -> Uses {
    list.iter().map(|(r, n)| ((*r).to_owned(), *n)).collect()
}

pub(super) fn claim(list: &[(&str, u32)]) -> Claim {
    Claim {
        uses: uses(list),
        ..Claim::default()
    }
}

pub(super) fn arbiter(capacities: &[(&str, u32)]) -> Arbiter {
    Arbiter::new(uses(capacities))
}

impl Arbiter {
    pub(super) fn ask(&mut self, unit: &str, since: u64, claim: Claim) -> Vec<Action> {
        self.ask_standing(unit, since, claim, Standing::Clear)
    }

    pub(super) fn ask_standing(
        &mut self,
        unit: &str,
        since: u64,
        claim: Claim,
        standing: Standing,
    ) -> Vec<Action> {
        self.handle(Event::Request {
            unit: unit.into(),
            claim,
            since,
            standing,
            now: since,
        })
    }

    pub(super) fn looked(&mut self, unit: &str, standing: Standing) -> Vec<Action> {
        self.handle(Event::Looked {
            unit: unit.into(),
            standing,
        })
    }

    pub(super) fn released(&mut self, unit: &str) -> Vec<Action> {
        self.handle(Event::Released { unit: unit.into() })
    }
}

pub(super) fn grant(unit: &str) -> Action {
    Action::Grant { unit: unit.into() }
}

pub(super) fn look(unit: &str) -> Action {
    Action::Look { unit: unit.into() }
}

pub(super) fn behind(units: &[&str]) -> Standing {
    Standing::Behind(units.iter().map(|u| (*u).to_owned()).collect())
}
