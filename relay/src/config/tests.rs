use super::*;

const GOOD: &str = r#"
listen = "127.0.0.1:26670"
node = "http://127.0.0.1:26657"
registration = "open"
anchor_interval_ms = 500

[sponsor]
per_day = 10
per_identity = 3

[limits]
sign_ins = 7
"#;

fn load(text: &str) -> Result<Config, Error> {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = Home::new(folder.path()).config();
    std::fs::write(&path, text).expect("a file");
    Config::load(&path)
}

#[test]
fn what_was_written_is_read_again() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = Home::new(folder.path()).config();
    let config = load(GOOD).expect("a configuration");
    config.save(&path).expect("a file");
    assert_eq!(Config::load(&path).expect("a configuration"), config);
    assert_eq!((config.sponsor.per_identity, config.limits.sign_ins, config.limits.bundles), (3, 7, 6), "what is not said has a default");
}

#[test]
fn what_the_program_does_not_know_is_refused_and_named() {
    let check = |story: &str, old: &str, new: &str, named: &str| {
        assert!(GOOD.contains(old), "{story}: the story bends the text");
        let error = load(&GOOD.replace(old, new)).expect_err(story);
        assert!(error.code() == 7092 && error.to_string().contains(named), "{story}: {error}");
    };
    check("an unknown field", "listen", "colour = 1\nlisten", "colour");
    check("an unknown field further down", "sign_ins", "sign_outs", "sign_outs");
    check("an unknown policy", "\"open\"", "\"ajar\"", "ajar");
    check("no address", "127.0.0.1:26670", "here", "here");
    check("a missing field", "registration = \"open\"", "", "registration");
    check("a negative budget", "per_day = 10", "per_day = -1", "per_day");
    check("an anchor all the time", "500", "5", "anchor_interval_ms");
    check("no anchor at all", "500", "99999999", "anchor_interval_ms");
    check("no text", "open", "op\u{0}en", "");
}
