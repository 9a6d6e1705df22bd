//! A service as PID 1 tells of it (org.freedesktop.systemd1(5)), as far as anything is decided by it.

/// What a service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Doing {
    /// `inactive`, `failed`: positively at rest.
    #[default]
    Down,
    /// `activating`, also a oneshot at work.
    Starting,
    /// `active`, `reloading`, and whatever else has processes.
    Up,
    /// `active (exited)`: done, though active (`RemainAfterExit=` of systemd.service(5)).
    Exited,
    /// `auto-restart`: between two attempts (`Restart=`).
    Pausing,
    /// `deactivating`.
    Leaving,
}

impl Doing {
    /// By its `ActiveState=` and `SubState=`.
    pub fn of(active: &str, sub: &str) -> Self {
        match (active, sub) {
            ("inactive" | "failed", _) => Self::Down,
            ("active", "exited") => Self::Exited,
            (_, sub) if sub.starts_with("auto-restart") => Self::Pausing,
            ("activating", _) => Self::Starting,
            ("deactivating", _) => Self::Leaving,
            _ => Self::Up,
        }
    }

    /// Neither running nor on its way.
    pub fn is_down(self) -> bool {
        self == Self::Down
    }

    /// It does nothing any more, though PID 1 has it active.
    pub fn has_exited(self) -> bool {
        self == Self::Exited
    }

    /// Whether it uses what it needs while it is so.
    pub fn is_working(self) -> bool {
        !matches!(self, Self::Down | Self::Exited)
    }

    /// Whether its processes run now. Between two attempts none do.
    pub fn is_running(self) -> bool {
        self.is_working() && self != Self::Pausing
    }

    /// Whether PID 1 has it active: a gate that is so has opened, and its process is gone.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Up | Self::Exited)
    }
}

/// A unit's job in PID 1's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Job {
    /// It has none.
    #[default]
    None,
    /// `start`.
    Start,
    /// `restart`, `try-restart`: a stop, if it isn't down, and then a start.
    Restart,
    /// `stop`.
    Stop,
    /// Any other.
    Other,
}

impl Job {
    /// By its type.
    pub fn of(kind: &str) -> Self {
        match kind {
            "start" => Self::Start,
            "restart" | "try-restart" => Self::Restart,
            "stop" => Self::Stop,
            _ => Self::Other,
        }
    }
}

/// A service, and its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Service {
    /// What it does.
    pub doing: Doing,
    /// Its job.
    pub job: Job,
}

impl Service {
    /// Whether a stop of what runs is queued.
    pub fn is_to_stop(self) -> bool {
        match self.job {
            Job::Stop => true,
            Job::Restart => self.doing.is_working(),
            _ => false,
        }
    }

    /// Whether a start is queued that hasn't begun.
    pub fn is_to_start(self) -> bool {
        !self.doing.is_working() && matches!(self.job, Job::Start | Job::Restart)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_of_pid1_by_their_names() {
        for (active, sub, doing) in [
            ("inactive", "dead", Doing::Down),
            ("failed", "failed", Doing::Down),
            ("activating", "start", Doing::Starting),
            ("activating", "auto-restart", Doing::Pausing),
            ("activating", "auto-restart-queued", Doing::Pausing),
            ("active", "running", Doing::Up),
            ("active", "exited", Doing::Exited),
            ("reloading", "reload", Doing::Up),
            ("refreshing", "refresh-extensions", Doing::Up),
            ("deactivating", "stop-sigterm", Doing::Leaving),
        ] {
            assert_eq!(Doing::of(active, sub), doing, "{active} ({sub})");
        }
    }

    #[test]
    fn a_restart_is_a_stop_of_what_runs_and_a_start_of_what_does_not() {
        let of = |doing, job| {
            let it = Service { doing, job };
            (it.is_to_stop(), it.is_to_start())
        };
        assert_eq!(of(Doing::Up, Job::Restart), (true, false));
        assert_eq!(of(Doing::Down, Job::Restart), (false, true));
        assert_eq!(of(Doing::Exited, Job::Start), (false, true));
        assert_eq!(of(Doing::Starting, Job::Start), (false, false));
        assert_eq!(of(Doing::Down, Job::Stop), (true, false));
        assert_eq!(of(Doing::Up, Job::None), (false, false));
    }
}
