//! Who may deploy, by real polkit and a real unprivileged user: anybody may look.

use anyhow::{Context, Result, ensure};
use interlock_tests::case::Case;
use interlock_tests::deployment::{INTERFACE, MANAGER, NAME, ROOT};

use super::deploy_support::{rests, running_group, runs_on};

deploy_cases![
    ordinary_user_may_look_at_deployments_and_change_none,
    shipped_example_lets_a_unix_group_deploy,
    owner_ends_its_own_deployment_and_nobody_elses,
];

const TASKS: [(&str, &str); 2] = [("f", "freeze"), ("r", "restart")];
const RULE: &str = "/etc/polkit-1/rules.d/50-interlock.rules";

fn ordinary_user_may_look_at_deployments_and_change_none(case: &Case<'_>) -> Result<()> {
    running_group(case, &TASKS, "")?;
    let denied = |command: &str| -> Result<()> {
        let output = case.as_alice(&format!("interlockctl deploy {command}"))?;
        ensure!(output.status == Some(77), "{command}: {output:?}");
        Ok(())
    };
    denied("begin --group g --expires 1min")?;
    denied("run --group g -- true")?;
    let id = case.deploy("g")?;
    for command in ["list", "list --json", &format!("show {id}"), "list --all"] {
        let output = case.as_alice(&format!("interlockctl deploy {command}"))?;
        ensure!(
            output.success() && output.stdout.contains(&id),
            "{command}: {output:?}"
        );
    }
    denied(&format!("end {id}"))?;
    denied(&format!("extend {id} 1h"))?;
    denied(&format!("take-over {id} --expires 1h"))?;
    // The same for those who don't ask nicely.
    let path = case.deployment(&id)?.path;
    for (object, interface, call) in [
        (ROOT, MANAGER, "BeginDeployment 'ssa{sv}' g '' 0"),
        (&path, INTERFACE, "End s ''"),
        (&path, INTERFACE, "Extend v s 1h"),
        (&path, INTERFACE, "TakeOver 'sa{sv}' '' 0"),
    ] {
        let output = case.as_alice(&format!(
            "dbus-send --system --print-reply --dest={NAME} {object} org.freedesktop.DBus.Peer.Ping >/dev/null
             busctl call {NAME} {object} {interface} {call}"
        ))?;
        ensure!(
            !output.success() && output.stderr.to_lowercase().contains("denied"),
            "{call}: {output:?}"
        );
    }
    let output = case.as_alice(&format!(
        "dbus-send --system --print-reply --dest={NAME} {path} {INTERFACE}.End string:x"
    ))?;
    ensure!(
        output
            .stderr
            .contains("org.freedesktop.DBus.Error.AccessDenied"),
        "{output:?}"
    );
    // Not by files either.
    for file in ["/run/interlock/frozen/x", "/var/lib/interlock/x"] {
        ensure!(!case.as_alice(&format!("touch {file}"))?.success());
    }
    let output =
        case.as_alice("for fifo in $(find /run/interlock -type p); do exec 3<>$fifo; done")?;
    ensure!(
        output.success() || output.stderr.contains("Permission denied"),
        "{output:?}"
    );
    ensure!(case.deployment(&id)?.state == "ready");
    case.end_deployment(&id)?;
    runs_on(case, &[("f", 1), ("r", 2)])
}

/// With a polkit rule in force, and a unix group of which alice is a member.
fn with_rule(case: &Case<'_>, rule: &str, body: impl FnOnce() -> Result<()>) -> Result<()> {
    case.sh(&format!(
        "{rule}; chmod 644 {RULE}; groupadd deployers; usermod --append --groups deployers alice
         systemctl restart polkit.service"
    ))?;
    let result = body();
    case.sh(&format!(
        "rm {RULE}; gpasswd --delete alice deployers >/dev/null; groupdel deployers
         systemctl restart polkit.service"
    ))?;
    result
}

fn shipped_example_lets_a_unix_group_deploy(case: &Case<'_>) -> Result<()> {
    running_group(case, &TASKS, "")?;
    let copy = format!("cp /usr/share/doc/interlock/50-interlock.rules {RULE}");
    with_rule(case, &copy, || {
        let output = case.as_alice(
            "interlockctl deploy run --group g --reason mine -- sh -c 'interlockctl deploy list; id -un'",
        )?;
        ensure!(
            output.success() && output.stdout.contains("alice"),
            "{output:?}"
        );
        let (id, _) = case.deployments()?.pop().context("none")?;
        let deployment = case.deployment(&id)?;
        ensure!(
            deployment.state == "ended" && deployment.owner.contains("alice"),
            "{deployment:#?}"
        );
        let uid: u64 = case.sh("id -u alice")?.parse()?;
        ensure!(deployment.owner_uid == uid);
        runs_on(case, &[("f", 1), ("r", 2)])
    })
}

fn owner_ends_its_own_deployment_and_nobody_elses(case: &Case<'_>) -> Result<()> {
    running_group(case, &TASKS, "")?;
    let rule = format!(
        "echo 'polkit.addRule(function (action, subject) {{
             if (action.id == \"org.interlock.Interlock1.deploy\" && subject.isInGroup(\"deployers\"))
                 return polkit.Result.YES;
         }});' >{RULE}"
    );
    with_rule(case, &rule, || {
        let output = case.as_alice("interlockctl deploy begin --group g --expires 10min")?;
        ensure!(output.success(), "{output:?}");
        let own = output.stdout.trim();
        rests(case, &[("r", 1)])?;
        let output = case.as_alice(&format!(
            "interlockctl deploy extend {own} 1h && interlockctl deploy end {own}"
        ))?;
        ensure!(output.success(), "{output:?}");
        runs_on(case, &[("f", 1), ("r", 2)])?;
        let roots = case.deploy("g")?;
        for command in ["end", "take-over --expires 1h"] {
            let output = case.as_alice(&format!("interlockctl deploy {command} {roots}"))?;
            ensure!(output.status == Some(77), "{command}: {output:?}");
        }
        // What root may take over is hers no longer.
        case.end_deployment(&roots)?;
        let deploy = case.as_alice("interlockctl deploy begin --group g --expires 10min")?;
        let id = deploy.stdout.trim();
        case.sh(&format!(
            "interlockctl deploy take-over {id} --expires 10min"
        ))?;
        ensure!(
            case.as_alice(&format!("interlockctl deploy end {id}"))?
                .status
                == Some(77)
        );
        case.end_deployment(id)?;
        runs_on(case, &[("f", 1), ("r", 4)])
    })
}
