//! A policy as text: whatever it is, no panic, and what it compiles to is what it says.

use interlock_generator::host::UnknownHost;
use interlock_generator::policy::{self, Source};

use crate::{Target, input, units};

pub const TARGET: Target = Target {
    name: "policy_text",
    run,
    words: &[
        "[tasks.a]\n",
        "[resources.r]\n",
        "[windows.w]\n",
        "[groups.g]\n",
        "[failures.f]\n",
        "[history]\n",
        "unit = \"a.service\"\n",
        "command = [\"/bin/true\"]\n",
        "uses = [\"r\"]\n",
        "uses = { r = 2 }\n",
        "after = [\"a\"]\n",
        "calendar = \"daily\"\n",
        "order = [\"a\"]\n",
        "on-deploy = { action = \"checkpoint\", signal = \"SIGUSR1\" }\n",
        "environment = { A = \"b\" }\n",
        "max-wait = \"1h\"\n",
        "\"\"\"",
        "'''",
        "\\u001b",
        "{",
        "}",
        "[[",
        "1979-05-27T07:32:00Z",
        "0x7fffffffffffffff",
        "\u{feff}",
        "#=== 9 /a.toml\n",
    ],
};

/// What stands before a NUL is one fragment, what stands behind it another, and what is behind a further one is the
/// policy that was good last.
fn run(bytes: &[u8]) {
    let (first, rest) = input::halves(bytes);
    let (second, kept) = input::halves(rest);
    let (first, second) = (input::lossy(first), input::lossy(second));
    let mut sources = vec![Source::new("/etc/interlock/policy.d/10-a.toml", first)];
    if !second.is_empty() {
        sources.push(Source::new("/etc/interlock/policy.d/20-b.toml", second));
    }
    let loaded = policy::from_sources(sources, &UnknownHost, &input::lossy(kept));
    for it in &loaded.diagnostics {
        let (whole, line) = (it.to_string(), it.one_line());
        assert!(!whole.is_empty() && !line.contains('\n'), "{line:?}");
    }
    assert_eq!(loaded.has_errors(), loaded.last_good.is_none());
    units::check(&loaded.settings);
    // What is kept for worse times says the same again.
    if let Some(kept) = &loaded.last_good {
        let broken = vec![
            Source::new("/etc/interlock/policy.d/10-a.toml", "["),
            Source::new("/etc/interlock/policy.d/20-b.toml", "["),
        ];
        let again = policy::from_sources(broken, &UnknownHost, kept);
        let tasks = loaded.settings.tasks().keys();
        assert!(tasks.eq(again.settings.tasks().keys()));
    }
}
