use crate::fixture::relay;

#[test]
fn endpoints_have_one_plain_spelling() {
    for endpoint in [
        "https://relay.example.org",
        "https://relay.example.org:8443",
        "https://relay.example.org/zynk/v1",
        "https://xn--bcher-kva.example/a-b_c~d.e",
        "http://127.0.0.1:8080",
        "http://localhost:8080",
        "http://[::1]:8080",
        "https://[2001:db8::1]",
        "http://abcdefghijklmnop.onion",
    ] {
        assert!(relay(endpoint).is_well_spelled(), "{endpoint}");
    }
    for (story, endpoint) in [
        ("nothing", ""),
        ("no host", "https://"),
        ("no scheme", "relay.example.org"),
        ("another scheme", "ftp://relay.example.org"),
        ("a script", "javascript://relay.example.org"),
        ("an upper-case scheme", "HTTPS://relay.example.org"),
        ("an upper-case host", "https://Relay.example.org"),
        ("a user", "https://relay.example.org@evil.example"),
        ("a fragment that leaks into the host", "https://relay.example.org#evil.example"),
        ("a query", "https://relay.example.org?a=b"),
        ("a query behind a path", "https://relay.example.org/a?b"),
        ("a percent-encoded host", "https://127%2e0%2e0%2e1"),
        ("a percent-encoded port", "https://relay.example.org%3a8443"),
        ("a percent-encoded traversal", "https://relay.example.org/%2e%2e/a"),
        ("a traversal", "https://relay.example.org/../a"),
        ("a dot segment", "https://relay.example.org/./a"),
        ("an empty segment", "https://relay.example.org//a"),
        ("a trailing slash", "https://relay.example.org/"),
        ("a backslash", "https://relay.example.org\\a"),
        ("a blank", "https://relay.example.org/a b"),
        ("a line end", "https://relay.example.org\n"),
        ("another script", "https://r\u{435}lay.example.org"),
        ("an empty label", "https://relay..org"),
        ("a trailing dot", "https://relay.example.org."),
        ("a label that begins with a hyphen", "https://-relay.example.org"),
        ("a port of zero", "https://relay.example.org:0"),
        ("a port above 65535", "https://relay.example.org:65536"),
        ("a port with a leading zero", "https://relay.example.org:0443"),
        ("a signed port", "https://relay.example.org:+443"),
        ("an empty port", "https://relay.example.org:"),
        ("two ports", "https://relay.example.org:1:2"),
        ("IPv6 in its long form", "https://[0:0:0:0:0:0:0:1]"),
        ("IPv6 in upper case", "https://[2001:DB8::1]"),
        ("IPv6 without its end", "https://[::1"),
        ("IPv6 and more", "https://[::1]8080"),
        ("IPv6 and an empty port", "https://[::1]:"),
        ("a name in brackets", "https://[relay.example.org]"),
    ] {
        assert!(!relay(endpoint).is_well_spelled(), "{story}: {endpoint}");
    }
}
