use super::*;

type Pairs<'a> = &'a [(&'static str, &'static str)];

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn what_is_about_one_connection_does_not_go_on() {
    let mut request = headers(&[
        ("connection", "close, X-Secret"),
        ("connection", "authorization"),
        ("x-secret", "1"),
        ("keep-alive", "5"),
        ("te", "trailers"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("proxy-authorization", "x"),
        ("x-forwarded-for", "1.2.3.4"),
        ("forwarded", "for=1.2.3.4"),
        ("x-real-ip", "1.2.3.4"),
        ("host", "elsewhere"),
        ("authorization", "Bearer x"),
        ("content-type", "a/b"),
        ("x-other", "stays"),
    ]);
    strip_request(&mut request);
    let mut left: Vec<_> = request.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["authorization", "content-type", "x-other"]);
    let mut answer = headers(&[("access-control-allow-origin", "*"), ("x-request-id", "1"), ("keep-alive", "1"), ("etag", "stays")]);
    strip_answer(&mut answer);
    assert_eq!(answer.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["etag"]);
}

#[test]
fn a_message_says_its_length_once() {
    let stories: [(&str, Pairs<'_>, u32); 5] = [
        ("nothing odd", &[("content-length", "5"), ("authorization", "Bearer x")], 0),
        ("two lengths", &[("content-length", "5"), ("content-length", "6")], 7517),
        ("two tokens", &[("authorization", "Bearer x"), ("authorization", "Bearer y")], 7517),
        ("just within the bound", &[("x", "12345678901234567890123456789012345678901234567890123456789")], 0),
        ("just above the bound", &[("x", "123456789012345678901234567890123456789012345678901234567890")], 7515),
    ];
    for (story, pairs, code) in stories {
        assert_eq!(check(&headers(pairs), 64).map_or_else(|error| error.code(), |()| 0), code, "{story}");
    }
}

#[test]
fn only_a_trusted_proxy_says_who_the_client_is() {
    let trusted: Vec<Network> = ["10.0.0.0/8", "192.0.2.1"].iter().map(|text| text.parse().expect("a network")).collect();
    let stories: [(&str, &str, Pairs<'_>, &str); 9] = [
        ("a stranger's word", "203.0.113.9", &[("x-forwarded-for", "1.1.1.1")], "203.0.113.9"),
        ("a proxy's word", "10.0.0.1", &[("x-forwarded-for", "1.1.1.1")], "1.1.1.1"),
        ("the last before the proxies", "10.0.0.1", &[("x-forwarded-for", "6.6.6.6, 1.1.1.1, 192.0.2.1")], "1.1.1.1"),
        ("over several headers", "10.0.0.1", &[("x-forwarded-for", "6.6.6.6, 1.1.1.1"), ("x-forwarded-for", "10.0.0.7")], "1.1.1.1"),
        ("proxies only", "10.0.0.1", &[("x-forwarded-for", "10.0.0.2")], "10.0.0.2"),
        ("a proxy that says nothing", "10.0.0.1", &[], "10.0.0.1"),
        ("garbage ends the walk", "10.0.0.1", &[("x-forwarded-for", "6.6.6.6, unknown, 10.0.0.3")], "10.0.0.3"),
        ("IPv4 within IPv6", "::ffff:10.0.0.1", &[("x-forwarded-for", "::ffff:1.1.1.1")], "1.1.1.1"),
        ("IPv6", "10.0.0.1", &[("x-forwarded-for", "2001:db8::1")], "2001:db8::1"),
    ];
    for (story, peer, pairs, expected) in stories {
        let found = client(peer.parse().expect("an address"), &headers(pairs), &trusted);
        assert_eq!(found.to_string(), expected, "{story}");
    }
}

#[test]
fn a_request_has_an_id_that_says_nothing() {
    let id = "0190f3c2-7b5a-7cc3-98a1-0123456789ab";
    assert_eq!(request_id(&headers(&[("x-request-id", "0190F3C2-7B5A-7CC3-98A1-0123456789AB")])), id);
    for odd in ["", "did:zynk:alice", "../../x", "1"] {
        let found = request_id(&headers(&[("x-request-id", Box::leak(odd.to_owned().into_boxed_str()))]));
        let found = Uuid::try_parse(found.to_str().expect("text")).expect("a UUID");
        assert_eq!(found.get_version_num(), 7, "{odd:?} is not taken");
    }
}
