//! A deployment as its object on the bus shows it.

use anyhow::{Context, Result};
use serde_json::Value;

/// interlock's name on the bus.
pub const NAME: &str = "org.interlock.Interlock1";
/// Its root object.
pub const ROOT: &str = "/org/interlock/Interlock1";
/// The root object's interface.
pub const MANAGER: &str = "org.interlock.Interlock1.Manager";
/// A deployment's interface.
pub const INTERFACE: &str = "org.interlock.Interlock1.Deployment";

/// What its properties say; times in microseconds since the epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// Its name.
    pub id: String,
    /// Its object's path.
    pub path: String,
    /// Its group.
    pub group: String,
    /// settling, ready, ending, ended or failed.
    pub state: String,
    /// What is going on, or why it failed.
    pub detail: String,
    /// What its owner gave.
    pub reason: String,
    /// Who began it or took it over.
    pub owner: String,
    /// That user's number.
    pub owner_uid: u64,
    /// When it was begun.
    pub since: u64,
    /// When it became ready; 0 if it hasn't.
    pub ready_since: u64,
    /// When it ended; 0 as long as it lives.
    pub ended: u64,
    /// When it ends by itself; 0 if it has a holder.
    pub expires: u64,
    /// By when it must have settled; 0 when it isn't settling.
    pub deadline: u64,
    /// What it concerns.
    pub members: Vec<Member>,
}

/// One unit that a deployment concerns.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The task's name in the policy.
    pub task: String,
    /// Its unit.
    pub unit: String,
    /// What is done to it.
    pub action: String,
    /// How far that is.
    pub state: String,
    /// One line about it.
    pub detail: String,
    /// Since when it is in that state.
    pub since: u64,
    /// How long its runs usually take, 0 if that isn't known.
    pub usual: u64,
}

impl Deployment {
    /// Reads what `busctl --json=short call … GetAll` answered.
    ///
    /// # Errors
    ///
    /// If a property is missing or of another type.
    pub fn parse(path: &str, answer: &str) -> Result<Self> {
        let answer: Value = serde_json::from_str(answer).context(answer.to_owned())?;
        let properties = &answer["data"][0];
        let value = |name: &str| &properties[name]["data"];
        let text = |name: &str| string(value(name)).with_context(|| name.to_owned());
        let number = |name: &str| value(name).as_u64().with_context(|| name.to_owned());
        let members = value("Tasks").as_array().context("Tasks")?;
        Ok(Self {
            id: text("Id")?,
            path: path.to_owned(),
            group: text("Group")?,
            state: text("State")?,
            detail: text("Detail")?,
            reason: text("Reason")?,
            owner: text("Owner")?,
            owner_uid: number("OwnerUid")?,
            since: number("Since")?,
            ready_since: number("ReadySince")?,
            ended: number("Ended")?,
            expires: number("Expires")?,
            deadline: number("Deadline")?,
            members: members
                .iter()
                .map(|member| Member::parse(member).with_context(|| member.to_string()))
                .collect::<Result<_>>()?,
        })
    }

    /// What it says of a unit.
    pub fn member(&self, unit: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.unit == unit)
    }
}

impl Member {
    fn parse(value: &Value) -> Result<Self> {
        let text = |index: usize| string(&value[index]);
        let number = |index: usize| value[index].as_u64().context("not a number");
        Ok(Self {
            task: text(0)?,
            unit: text(1)?,
            action: text(2)?,
            state: text(3)?,
            detail: text(4)?,
            since: number(5)?,
            usual: number(6)?,
        })
    }
}

fn string(value: &Value) -> Result<String> {
    Ok(value.as_str().context("not a string")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_busctl_prints() {
        let answer = r#"{"type":"a{sv}","data":[{"Id":{"type":"s","data":"g-1"},"Group":{"type":"s","data":"g"},
            "State":{"type":"s","data":"settling"},"Detail":{"type":"s","data":""},"Reason":{"type":"s","data":"r"},
            "Owner":{"type":"s","data":"root"},"OwnerUid":{"type":"u","data":0},"Since":{"type":"t","data":5},
            "ReadySince":{"type":"t","data":0},"Ended":{"type":"t","data":0},"Expires":{"type":"t","data":9},
            "Deadline":{"type":"t","data":7},"Tasks":{"type":"a(ssssstt)","data":
            [["a","a.service","stop","stopping","",6,0]]}}]}"#;
        let deployment = Deployment::parse("/x", answer).unwrap();
        assert_eq!((deployment.id.as_str(), deployment.expires), ("g-1", 9));
        let member = deployment.member("a.service").unwrap();
        assert_eq!((member.action.as_str(), member.since), ("stop", 6));
        assert!(deployment.member("b.service").is_none());
        assert!(Deployment::parse("/x", "{}").is_err());
    }
}
