//! Which processes wait for a resource's locks.

use std::time::Duration;

use super::snapshot::Process;

/// The kernel cuts names here, in bytes (`TASK_COMM_LEN` less its end mark).
const COMM_MAX: usize = 15;

/// Programs that run scripts under their own name.
const INTERPRETERS: [&str; 4] = ["python", "platform-python", "perl", "ruby"];

/// Whether it is one of these programs.
pub fn is_client(process: &Process, clients: &[String]) -> bool {
    clients.iter().any(|client| {
        let cut = client.get(..COMM_MAX).unwrap_or(client);
        process.comm == cut || script(process) == Some(client)
    })
}

/// Whether it is a part of its parent's work rather than a program of its own: ansible-playbook's workers and
/// rpm's Lua scriptlets are forks under the name and arguments of the program that holds the lock.
pub(super) fn is_fork(process: &Process, parent: &Process) -> bool {
    process.comm == parent.comm && process.cmdline == parent.cmdline
}

/// Whether it has waited for so long, as far as is known.
///
/// One that holds another lock of the same resource has got in already, and is taken to wait only if it was
/// seen to.
pub(super) fn is_stuck_for(process: &Process, grace: Duration, holds_another: bool) -> bool {
    process.age >= grace && process.waiting.unwrap_or(!holds_another)
}

/// The name of the script that an interpreter runs.
fn script(process: &Process) -> Option<&str> {
    let base = |path: &'_ str| path.rsplit('/').next().map(str::to_owned);
    let interpreter = base(process.cmdline.first()?)?;
    let known = INTERPRETERS.iter().any(|i| interpreter.starts_with(i));
    let script = process.cmdline.get(1).filter(|_| known)?;
    script.rsplit('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(comm: &str, cmdline: &[&str]) -> Process {
        Process {
            pid: 2,
            ppid: 1,
            start_time: 1,
            age: Duration::from_secs(60),
            comm: comm.into(),
            cmdline: cmdline.iter().map(|&word| word.to_owned()).collect(),
            unit: None,
            waiting: None,
        }
    }

    #[test]
    fn a_client_goes_by_its_name_or_its_scripts() {
        let clients = ["dnf".to_owned(), "ansible-playbook".to_owned()];
        let is = |comm, cmdline: &[&str]| is_client(&process(comm, cmdline), &clients);
        assert!(is("dnf", &["/usr/bin/python3", "/usr/bin/dnf", "install"]));
        assert!(is("python3", &["/usr/bin/python3", "/usr/bin/dnf"]));
        assert!(is(
            "platform-python",
            &["/usr/libexec/platform-python", "/usr/bin/dnf"]
        ));
        assert!(is("ansible-playboo", &[]));
        assert!(!is("dnf-automatic", &["python3", "/usr/bin/dnf-automatic"]));
        assert!(!is("sh", &["sh", "dnf"]));
        assert!(!is("vi", &["vi", "/usr/bin/dnf"]));
    }

    #[test]
    fn a_fork_has_its_parents_name_and_arguments() {
        let playbook = process("ansible-playboo", &["ansible-playbook", "x.yml"]);
        assert!(is_fork(&playbook.clone(), &playbook));
        let other = process("ansible-playboo", &["ansible-playbook", "y.yml"]);
        assert!(!is_fork(&other, &playbook));
    }

    #[test]
    fn who_works_or_holds_does_not_wait() {
        let minute = Duration::from_secs(60);
        let mut dnf = process("dnf", &[]);
        assert!(is_stuck_for(&dnf, minute, false));
        assert!(!is_stuck_for(&dnf, minute * 2, false), "too young");
        assert!(!is_stuck_for(&dnf, minute, true), "it got in");
        dnf.waiting = Some(true);
        assert!(is_stuck_for(&dnf, minute, true));
        dnf.waiting = Some(false);
        assert!(!is_stuck_for(&dnf, minute, false));
    }
}
