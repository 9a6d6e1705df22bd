//! `interlockctl capacity`: how much there is of each resource, and how to change that.

use serde::Serialize;

use super::cli::CapacityArgs;
use crate::ctl::client::Client;
use crate::ctl::clock::Clock;
use crate::ctl::error::{CtlError, Outcome};
use crate::ctl::output::{self, Screen, Style};
use crate::ctl::proxy::fields::some;
use crate::ctl::proxy::queue::ListedCapacity;
use crate::ctl::table::{self, Cell, Column};

/// `capacity --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Capacities {
    /// Every resource.
    pub resources: Vec<Capacity>,
}

/// A resource.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Capacity {
    /// Its name.
    pub resource: String,
    /// How many shares there are.
    pub capacity: u32,
    /// How many the policy says.
    pub policy: u32,
    /// How many are held.
    pub used: u32,
    /// Who changed it.
    pub by: Option<String>,
    /// Why.
    pub reason: String,
    /// When, CLOCK_REALTIME in microseconds.
    pub since_usec: Option<u64>,
}

impl From<ListedCapacity> for Capacity {
    fn from((resource, capacity, policy, used, by, reason, since): ListedCapacity) -> Self {
        Self {
            resource,
            capacity,
            policy,
            used,
            by: Some(by).filter(|by| !by.is_empty()),
            reason,
            since_usec: some(since),
        }
    }
}

const COLUMNS: [Column; 4] = [
    Column::text("RESOURCE", 12),
    Column::number("CAPACITY"),
    Column::number("HELD"),
    Column::text("", 12),
];

/// Lists, or changes one.
pub async fn run(client: &Client, args: &CapacityArgs) -> Result<Outcome, CtlError> {
    let queue = client.submissions().await?;
    let (Some(resource), Some(shares)) = (&args.resource, &args.shares) else {
        let rows = client.ask("can't list the capacities", queue.list_capacities());
        let resources = rows.await?.into_iter().map(Capacity::from).collect();
        return output::show(&Capacities { resources }, &args.form, render);
    };
    let capacity = wanted(shares)?;
    let set = queue.set_capacity(resource, capacity, &args.reason);
    client.change("can't change the capacity", set).await?;
    output::print(&match capacity {
        0 => format!("The capacity of {resource} is what the policy says.\n"),
        capacity => format!("The capacity of {resource} is {capacity}.\n"),
    })?;
    Ok(Outcome::Done)
}

fn wanted(shares: &str) -> Result<u32, CtlError> {
    match (shares, shares.parse()) {
        ("policy", _) => Ok(0),
        (_, Ok(number)) if number > 0 => Ok(number),
        _ => Err(CtlError::Usage {
            message: format!(
                "{shares} is no capacity: write a whole number from 1, or policy; \
                 to start nothing: interlockctl queue pause"
            ),
        }),
    }
}

pub(super) fn render(all: &Capacities, clock: &Clock, screen: &Screen) -> String {
    let row = |it: &Capacity| {
        let style = match it.used > it.capacity {
            true => Style::Bad,
            false => Style::Plain,
        };
        vec![
            Cell::new(&it.resource),
            Cell::new(&it.capacity.to_string()),
            Cell::styled(&it.used.to_string(), style),
            Cell::new(&changed(it, clock)),
        ]
    };
    let none = "The policy has no resource.";
    table::list(&COLUMNS, &all.resources, none, screen, row)
}

fn changed(it: &Capacity, clock: &Clock) -> String {
    let Some(by) = &it.by else {
        return String::new();
    };
    let why = match it.reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    let when = clock.time(it.since_usec.unwrap_or(0));
    format!("not {} as in the policy; by {by}, {when}{why}", it.policy)
}
