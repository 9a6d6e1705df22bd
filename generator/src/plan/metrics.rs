//! The units that write metrics for node_exporter's textfile collector.
//!
//! Not interlockd itself: it is confined to its own directories from its start on, so that a reload of the
//! policy couldn't let it write elsewhere, and while it is down nobody would say so in the file.

use super::command::enable_timer;
use super::{Directory, Plan};
use crate::names;
use crate::policy::settings::MetricsTextfile;
use crate::unitfile::{Section, UnitFile};

/// Adds the oneshot and its timer.
pub(super) fn units(plan: &mut Plan, textfile: &MetricsTextfile) {
    let source = textfile.origin.path.to_string_lossy();
    let path = textfile.path.to_string_lossy();
    let directory = textfile.path.parent().unwrap_or(&textfile.path);
    let argv = [
        "/usr/bin/interlockctl",
        "metrics",
        "--textfile",
        path.as_ref(),
    ];

    let mut file = UnitFile::new(&textfile.origin);
    file.section(Section::Unit)
        .text("Description", "Metrics of interlock for node_exporter")
        .text("SourcePath", &source)
        // For the package's removal, which takes the file away; systemd passes over it.
        .text("X-InterlockTextfile", &path)
        // Every half a minute is no reason to give up.
        .literal("StartLimitIntervalSec", "0");
    file.section(Section::Service)
        .literal("Type", "oneshot")
        .exec_start(&argv.map(str::to_owned))
        .literal("TimeoutStartSec", "20s")
        // Each start and end would be in the journal, twice a minute.
        .literal("LogLevelMax", "notice")
        // Root, who may write where the collector's user reads; and no more than that.
        .literal("CapabilityBoundingSet", "CAP_DAC_OVERRIDE")
        .literal("NoNewPrivileges", "yes")
        .literal("ProtectSystem", "strict")
        .optional_path("ReadWritePaths", &directory.to_string_lossy())
        .literal("ProtectHome", "read-only")
        .literal("ProtectKernelTunables", "yes")
        .literal("ProtectKernelModules", "yes")
        .literal("ProtectControlGroups", "yes")
        .literal("PrivateDevices", "yes")
        .literal("RestrictAddressFamilies", "AF_UNIX")
        .literal("RestrictNamespaces", "yes")
        .literal("LockPersonality", "yes")
        .literal("MemoryDenyWriteExecute", "yes")
        .literal("SystemCallArchitectures", "native")
        .literal("SystemCallFilter", "@system-service");
    plan.file(Directory::Normal, names::METRICS_SERVICE.to_owned(), file);

    let mut file = UnitFile::new(&textfile.origin);
    file.section(Section::Unit)
        .text(
            "Description",
            &["Timer of ", names::METRICS_SERVICE].concat(),
        )
        .text("SourcePath", &source);
    file.section(Section::Timer)
        // At once when a policy brings it, and after boot when interlockd has had time to look round.
        .literal("OnActiveSec", "2s")
        .literal("OnUnitInactiveSec", "30s")
        .literal("AccuracySec", "1s");
    enable_timer(plan, names::METRICS_TIMER);
    plan.file(Directory::Normal, names::METRICS_TIMER.to_owned(), file);
}
