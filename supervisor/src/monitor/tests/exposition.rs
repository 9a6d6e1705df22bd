//! Metrics of facts that are made up.

use super::super::{Format, down, metrics};
use super::host;

#[test]
fn metrics_are_by_task_of_the_policy_and_never_by_unit() {
    let text = metrics(&host(3), Format::Prometheus);
    for line in [
        "interlock_up 1",
        "interlock_build_info{version=\"0.1.0\"} 1",
        "interlock_start_time_seconds 1772326996",
        "# TYPE interlock_runs_total counter",
        "interlock_runs_total{task=\"import\",result=\"exit-code\"} 600",
        "interlock_runs_total{task=\"(other)\",result=\"success\"} 1",
        "interlock_skips_total{task=\"import\",reason=\"busy\"} 7",
        "interlock_resource_used{resource=\"import-slots\"} 1",
        "interlock_task_units{task=\"import\",state=\"waiting\"} 1",
        "interlock_task_longest_seconds{task=\"import\",state=\"waiting\"} 2100",
        "interlock_queue_entries{task=\"import\",state=\"delayed\"} 3",
        "interlock_queue_entries{task=\"backup\",state=\"queued\"} 0",
        "interlock_failed_units_baseline 500.000",
        "interlock_gate_wait_seconds_bucket{task=\"import\",le=\"5\"} 9",
        "interlock_gate_wait_seconds_bucket{task=\"import\",le=\"+Inf\"} 10",
        "interlock_gate_wait_seconds_sum{task=\"import\"} 90000.5",
        "interlock_gate_wait_seconds_count{task=\"import\"} 10",
        "interlock_task_last_success_timestamp_seconds{task=\"import\"} 1772323396",
        "interlock_task_expect_success_seconds{task=\"backup\"} 1080000",
        "interlock_task_success_overdue{task=\"backup\"} 0",
        "interlock_deployments{group=\"web\"} 0",
    ] {
        assert!(
            text.lines().any(|it| it == line),
            "{line} is not in\n{text}"
        );
    }
    assert!(!text.contains(".service"), "{text}");
}

#[test]
fn open_metrics_names_the_family_of_a_counter_without_its_suffix_and_ends() {
    let text = metrics(&host(3), Format::OpenMetrics);
    assert!(
        text.contains("# TYPE interlock_runs counter\ninterlock_runs_total{"),
        "{text}"
    );
    assert!(
        text.contains("# TYPE interlock_build info\ninterlock_build_info{"),
        "{text}"
    );
    assert!(
        text.contains("# UNIT interlock_gate_wait_seconds seconds\n"),
        "{text}"
    );
    assert!(text.contains(",le=\"5.0\"} 9\n"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(!metrics(&host(3), Format::Prometheus).contains("EOF"));
}

#[test]
fn a_daemon_that_is_down_is_a_metric_too() {
    assert_eq!(
        down(Format::Prometheus),
        "# HELP interlock_up Whether interlockd answers.\n# TYPE interlock_up gauge\ninterlock_up 0\n"
    );
}
