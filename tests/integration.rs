//! Cases on real systemd, each on every version: `252::NAME` and `257::NAME`.

use interlock_tests::machine::Machine;
use interlock_tests::root::Version;
use libtest_mimic::{Arguments, Trial};

fn main() {
    let args = Arguments::from_args();
    let trials = Version::ALL.into_iter().map(|version| {
        Trial::test(format!("{version}::boots"), move || {
            let machine = Machine::boot(version)?;
            let text =
                machine.sh("systemctl --version; cat /proc/self/cgroup; id alice; ls /run")?;
            println!("{text}");
            let v = machine.version();
            machine.reboot()?;
            assert!(text.starts_with(&format!("systemd {v}")), "{text}");
            Ok(())
        })
    });
    libtest_mimic::run(&args, trials.collect()).exit();
}
