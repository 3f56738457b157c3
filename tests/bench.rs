//! `zynk bench relay` from outside: it comes to its end, leaves nothing, and prints every figure it promises.

use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// What a script may rely on, as JSON pointers; each is a number above 0.
const FIGURES: [&str; 19] = [
    "/machine/processors",
    "/machine/open_files",
    "/WAY/fdatasync/p50_us",
    "/WAY/fdatasync/p99_us",
    "/load/pairs",
    "/load/window",
    "/load/seconds",
    "/load/content_bytes",
    "/WAY/send_to_receive/p50_us",
    "/WAY/send_to_receive/p99_us",
    "/WAY/send_to_receive/p50_fdatasyncs",
    "/WAY/send_to_accepted/p50_us",
    "/WAY/send_to_accepted/p99_us",
    "/WAY/send_to_block/p50_us",
    "/WAY/send_to_block/p95_us",
    "/WAY/send_to_anchored/p50_us",
    "/WAY/send_to_anchored/p95_us",
    "/WAY/closed_loop/messages_per_second",
    "/WAY/closed_loop/relay_cpu_us_per_message",
];

#[test]
fn the_relay_is_measured_and_no_message_is_lost() {
    let folder = TempDir::new().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_zynk"))
        .args(["--json", "bench", "relay", "--quick", "--pairs", "4", "--seconds", "2", "--connections", "50"])
        .env("TMPDIR", folder.path())
        .output()
        .expect("it starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    let said: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"));

    for figure in FIGURES {
        for way in ["direct", "gateway"] {
            let pointer = figure.replace("WAY", way);
            let number = said.pointer(&pointer).and_then(Value::as_f64);
            assert!(number.is_some_and(|number| number > 0.0), "{pointer}: {number:?} in {said:#}");
        }
    }
    for way in ["direct", "gateway"] {
        let idle = &said[way]["idle"];
        assert_eq!(idle["connections"], 50, "{said:#}");
        assert!(idle["relay"]["resident_bytes"].as_u64() > Some(0) && idle["relay"]["bytes_per_connection"].is_u64(), "{said:#}");
    }
    assert!(said["gateway"]["closed_loop"]["gateway_cpu_us_per_message"].as_f64() > Some(0.0), "{said:#}");
    assert!(said["gateway"]["idle"]["gateway"]["resident_bytes"].as_u64() > Some(0), "{said:#}");
    assert!(said["direct"]["idle"]["gateway"].is_null(), "{said:#}");

    let history = &said["history"];
    assert_eq!((&history["held"], &history["refused"]), (&Value::Bool(true), &Value::from(0)), "{said:#}");
    assert!(history["messages"].as_u64() > Some(100) && history["events"].as_u64() > Some(400), "{said:#}");
    assert_eq!(history["violations"], Value::Array(Vec::new()), "{said:#}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("it is there").collect();
    assert!(left.is_empty(), "it leaves {left:?}");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let refused = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_zynk")).args(["bench", "relay"]).args(arguments).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    };
    refused(&["--pairs", "0"]);
    refused(&["--pairs", "1001"]);
    refused(&["--window", "0"]);
    refused(&["--window", "65"]);
    refused(&["--seconds", "0"]);
    refused(&["--seconds", "61"]);
    refused(&["--connections", "30001"]);
}
