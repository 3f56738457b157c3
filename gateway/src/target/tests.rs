use super::*;

fn judge(uri: &str) -> u32 {
    let Ok(uri) = uri.parse::<Uri>() else { return 1 };
    check(Class::of(uri.path()), &uri, 64).map_or_else(|error| error.code(), |()| 0)
}

#[test]
fn every_path_has_one_class() {
    let stories = [
        ("/api/v1/relay", Class::Relay),
        ("/api/v1/ws", Class::Session),
        ("/api/v1/ws/", Class::Relay),
        ("/api/v1", Class::Unknown),
        ("/api/v10/x", Class::Unknown),
        ("/.well-known/jwks.json", Class::Relay),
        ("/.well-known/other", Class::Unknown),
        ("/rpc", Class::Rpc),
        ("/rpc/status", Class::Rpc),
        ("/rpc/websocket", Class::Subscription),
        ("/rpcx", Class::Unknown),
        ("/1.0/identifiers/did:zynk:x", Class::Resolver),
        ("/1.0/identifiers/", Class::Resolver),
        ("/chain/v1/params", Class::Chain),
        ("/health", Class::Health),
        ("/health/", Class::Unknown),
        ("/metrics", Class::Metrics),
        ("/", Class::Unknown),
    ];
    for (path, class) in stories {
        assert_eq!(Class::of(path), class, "{path}");
    }
}

#[test]
fn a_path_has_one_reading() {
    let stories = [
        ("/api/v1/prekeys/did:zynk:abc", 0),
        ("/api/v1/prekeys/did%3Azynk%3Aabc", 0),
        ("/api/v1/x?a=b&c=%20/?", 0),
        ("/1.0/identifiers/did:zynk:abc%2Fpath", 0),
        ("/1.0/identifiers/", 0),
        ("/api/v1/../../admin", 7513),
        ("/api/v1/%2e%2E/admin", 7513),
        ("/api/v1/.%2e/admin", 7513),
        ("/api/v1/./relay", 7513),
        ("/api/v1/a%2Fb", 7513),
        ("/api/v1/a%5cb", 7513),
        ("/api/v1/a%00", 7513),
        ("/api/v1/a%0d%0aHost:x", 7513),
        ("/api/v1/a%252e", 7513),
        ("/api/v1//relay", 7513),
        ("/api/v1/a%2", 7513),
        ("/api/v1/a%zz", 7513),
        ("/api/v1/a\\b", 7513),
        ("/api/v1/a{b}", 7513),
        ("/api/v1/a?q=%g0", 7513),
        ("/rpc/%2e%2e/x", 7513),
        ("/1.0/identifiers/../x", 7513),
        ("*", 7513),
    ];
    for (uri, code) in stories {
        assert_eq!(judge(uri), code, "{uri}");
    }
    assert_eq!(judge(&format!("/api/v1/{}", "a".repeat(56))), 0, "64 bytes");
    assert_eq!(judge(&format!("/api/v1/{}", "a".repeat(57))), 7514, "65 bytes");
}
