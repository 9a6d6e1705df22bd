//! Who keeps the host from being shut down or suspended: logind's inhibitors (org.freedesktop.login1(5)).

use zbus::proxy::{MethodFlags, Proxy};
use zbus::{Connection, Error, fdo};

/// An inhibitor, as logind lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inhibitor {
    /// What it is against, such as `shutdown:sleep`.
    pub what: String,
    /// Who took it, for people.
    pub who: String,
    /// Why, for people.
    pub why: String,
    /// `block`, `block-weak` or `delay`.
    pub mode: String,
    /// Its user.
    pub uid: u32,
    /// The process that took it. It may have handed it on.
    pub pid: u32,
}

type Row = (String, String, String, String, u32, u32);

/// Inhibitors of mode `block`: somebody is amid something that mustn't be cut off. Where logind doesn't run there are
/// none, and it isn't started for this.
///
/// # Errors
/// The bus's, or logind's.
pub async fn blocking(connection: &Connection) -> zbus::Result<Vec<Inhibitor>> {
    let manager = Proxy::new_owned(
        connection.clone(),
        "org.freedesktop.login1",
        "/org/freedesktop/login1",
        "org.freedesktop.login1.Manager",
    )
    .await?;
    let asked = manager
        .call_with_flags("ListInhibitors", MethodFlags::NO_AUTO_START, &())
        .await;
    let rows: Vec<Row> = match asked {
        Ok(rows) => rows.unwrap_or_default(),
        Err(error) if is_absent(&error) => Vec::new(),
        Err(error) => return Err(error),
    };
    let inhibitors = rows.into_iter().map(Inhibitor::from);
    Ok(inhibitors.filter(|i| i.mode == "block").collect())
}

impl From<Row> for Inhibitor {
    fn from((what, who, why, mode, uid, pid): Row) -> Self {
        Self {
            what,
            who,
            why,
            mode,
            uid,
            pid,
        }
    }
}

/// The bus says so of names that nobody has, and of those that it could only start.
fn is_absent(error: &Error) -> bool {
    let Error::FDO(error) = error else {
        return false;
    };
    matches!(
        **error,
        fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_)
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use zbus::connection::Builder;
    use zbus::{Guid, interface};

    use super::*;

    struct Logind(fdo::Result<Vec<Row>>);

    #[interface(name = "org.freedesktop.login1.Manager")]
    impl Logind {
        fn list_inhibitors(&self) -> fdo::Result<Vec<Row>> {
            self.0.clone()
        }
    }

    async fn ask(answer: fdo::Result<Vec<Row>>) -> zbus::Result<Vec<Inhibitor>> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = Builder::unix_stream(theirs)
            .server(Guid::generate())
            .p2p()
            .serve_at("/org/freedesktop/login1", Logind(answer));
        let client = Builder::unix_stream(ours).p2p();
        let (server, client) = tokio::join!(server.build(), client.build());
        let inhibitors = blocking(&client.unwrap()).await;
        drop(server);
        inhibitors
    }

    fn row(who: &str, mode: &str) -> Row {
        let text = |text: &str| text.to_owned();
        let what = text("shutdown:idle");
        (
            what,
            text(who),
            text("Transaction running"),
            text(mode),
            0,
            42,
        )
    }

    #[tokio::test]
    async fn only_those_that_block_are_told() {
        let all = [
            ("NetworkManager", "delay"),
            ("dnf", "block"),
            ("gnome", "block-weak"),
        ];
        let found = ask(Ok(all.map(|(who, mode)| row(who, mode)).into())).await;
        assert_eq!(found.unwrap(), [Inhibitor::from(row("dnf", "block"))]);
    }

    #[tokio::test]
    async fn without_logind_there_are_none() {
        for absent in [fdo::Error::ServiceUnknown, fdo::Error::NameHasNoOwner] {
            let found = ask(Err(absent("no logind".into()))).await;
            assert_eq!(found.unwrap(), []);
        }
    }

    #[tokio::test]
    async fn a_logind_that_fails_is_not_taken_for_none() {
        let denied = fdo::Error::AccessDenied("no".into());
        assert!(ask(Err(denied)).await.is_err());
    }
}
