//! Which errors are PID 1's own word, and which say nothing.

use zbus::fdo;

/// Whether PID 1 has said no. Any other error, of the bus or of a call that took too long, leaves open whether it has done
/// what it was asked for, and says nothing about what it would have answered.
pub fn is_refusal(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::MethodError(name, ..) => {
            name.as_str() != "org.freedesktop.systemd1.ShuttingDown"
        }
        zbus::Error::FDO(error) => !matches!(
            **error,
            fdo::Error::NoReply(_)
                | fdo::Error::ServiceUnknown(_)
                | fdo::Error::NameHasNoOwner(_)
                | fdo::Error::Disconnected(_)
                | fdo::Error::NoServer(_)
                | fdo::Error::Timeout(_)
                | fdo::Error::TimedOut(_)
                | fdo::Error::LimitsExceeded(_)
                | fdo::Error::NoMemory(_)
                | fdo::Error::ZBus(_)
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_bus_says_nothing() {
        let lost = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(!is_refusal(&zbus::Error::from(lost)));
        let fdo = |error| is_refusal(&zbus::Error::FDO(Box::new(error)));
        assert!(!fdo(fdo::Error::NoReply(String::new())));
        assert!(!fdo(fdo::Error::ServiceUnknown(String::new())));
        assert!(fdo(fdo::Error::AccessDenied(String::new())));
        assert!(fdo(fdo::Error::InvalidArgs(String::new())));
    }
}
