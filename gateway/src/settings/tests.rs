use std::net::IpAddr;

use super::*;

const GOOD: &str = r#"
listen = "127.0.0.1:8080"
relay = "http://127.0.0.1:7100"
node = "http://127.0.0.1:26657"
trusted_proxies = ["10.0.0.0/8", "::1"]
origins = ["https://app.example"]

[limits]
burst = 7
"#;

fn load(text: &str) -> Result<Settings, Error> {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = Home::new(folder.path()).settings();
    std::fs::write(&path, text).expect("written");
    Settings::load(&path)
}

#[test]
fn what_was_written_is_read_again() {
    let settings = load(GOOD).expect("settings");
    assert_eq!((settings.limits.burst, settings.limits.per_second), (7, Limits::default().per_second));
    assert_eq!(settings.operators, loopback());
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = Home::new(folder.path()).settings();
    settings.save(&path).expect("written");
    assert_eq!(Settings::load(&path).expect("settings"), settings);
    let least = Settings::new("127.0.0.1:1".parse().expect("an address"));
    least.save(&path).expect("written");
    assert_eq!(Settings::load(&path).expect("settings"), least);
}

#[test]
fn what_is_not_known_is_refused() {
    let with = |line: &str| format!("{line}\n{GOOD}");
    let stories = [
        ("an unknown key", with("lisen = 1")),
        ("an unknown limit", format!("{GOOD}\nburts = 7")),
        ("no address", GOOD.replace("listen", "#")),
        ("a network that is none", GOOD.replace("10.0.0.0/8", "10.0.0.0/33")),
        ("a limit of nothing", GOOD.replace("burst = 7", "burst = 0")),
        ("an origin that is none", GOOD.replace("https://app.example", "\\u0000")),
        ("a frame of a gigabyte", GOOD.replace("burst = 7", "frame = 1000000000")),
        ("no TOML", "listen".to_owned()),
    ];
    for (story, text) in stories {
        let error = load(&text).expect_err(story);
        assert_eq!(error.code(), 7501, "{story}: {error}");
    }
}

#[test]
fn tls_files_are_found_from_the_folder_on() {
    let with = |key: &str| format!("{GOOD}\n[tls]\ncertificate = \"cert.pem\"\nkey = {key}\n");
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = Home::new(folder.path()).settings();
    std::fs::write(&path, with("\"/etc/zynk/key.pem\"")).expect("written");
    let settings = Settings::load(&path).expect("settings");
    let expected = Tls { certificate: folder.path().join("cert.pem"), key: "/etc/zynk/key.pem".into() };
    assert_eq!(settings.tls, Some(expected));

    // Written elsewhere it means the same files.
    let other = folder.path().join("other.toml");
    settings.save(&other).expect("written");
    assert_eq!(Settings::load(&other).expect("settings"), settings);
    assert_eq!(load(GOOD).expect("settings").tls, None);

    for (story, text) in [
        ("half of it", with("").replace("key = \n", "")),
        ("an unknown key", with("\"key.pem\"\nversion = \"1.2\"")),
        ("a key that is none", with("7")),
    ] {
        assert_eq!(load(&text).expect_err(story).code(), 7501, "{story}");
    }
}

#[test]
fn a_network_holds_its_addresses() {
    let stories = [
        ("10.0.0.0/8", "10.200.3.4", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("10.0.0.0/8", "::ffff:10.1.1.1", true),
        ("0.0.0.0/0", "8.8.8.8", true),
        ("0.0.0.0/0", "::1", false),
        ("::/0", "2001:db8::1", true),
        ("2001:db8::/32", "2001:db8:ffff::1", true),
        ("2001:db8::/32", "2001:db9::1", false),
        ("192.0.2.7", "192.0.2.7", true),
        ("192.0.2.7", "192.0.2.6", false),
    ];
    for (network, address, holds) in stories {
        let (network, address): (Network, IpAddr) = (network.parse().expect("a network"), address.parse().expect("an address"));
        assert_eq!(network.contains(address), holds, "{network:?} {address}");
    }
    for text in ["", "10.0.0.0/", "10.0.0.0/33", "::/129", "host/8", "10.0.0/8"] {
        assert!(text.parse::<Network>().is_err(), "{text:?}");
    }
}
