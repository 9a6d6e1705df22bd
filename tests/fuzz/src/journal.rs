//! What journalctl prints: an entry a line, as JSON.

use interlock_core::ending::End;
use interlock_supervisor::logs;

use crate::{Target, input};

pub const TARGET: Target = Target {
    name: "journal",
    run,
    words: &[
        "{\"MESSAGE\":\"",
        "\",\"MESSAGE_ID\":\"",
        "7d4958e842da4a758f6c1cdc7b36dcc5",
        "39f53479d3a045ac8e11786248231fbf",
        "98e322203f7a4ed290d09fe03c09fe15",
        "d9b373ed55a64feb8242e02dbe79a49c",
        "\"INVOCATION_ID\":\"i\"",
        "\"_SYSTEMD_INVOCATION_ID\":\"i\"",
        "\"EXIT_CODE\":\"exited\"",
        "\"EXIT_STATUS\":\"",
        "\"__REALTIME_TIMESTAMP\":\"",
        "[104,105]",
        "null",
        "{}",
        "18446744073709551615",
        "}\n",
    ],
};

fn run(bytes: &[u8]) {
    let (text, rest) = input::halves(bytes);
    let text = input::lossy(text);
    let since = rest.len() as u64;
    if let Some(end) = logs::end_in(&text, since) {
        assert!(end.started >= since && end.ended >= since);
        assert!(!end.invocation.is_empty() && !end.result.contains('\0'));
    }
    for limit in [0, 3] {
        let end = End {
            invocation: "i".to_owned(),
            ..End::default()
        };
        let lines = logs::lines_in(&text, &end, limit);
        assert!(lines.len() <= limit);
        for line in lines {
            assert!(line.len() <= 4096 && !line.contains('\n'));
        }
    }
}
